import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

/**
 * The same job for Flink, in Flink SQL.
 *
 * <p>{@code Flink live --brokers B --topic T --folder DIR [--threads N]} reads a topic from its first offset to its
 * current end, and computes three results: the ten most played songs of each window of ten minutes that slides by one, the
 * plays of each song by country and week, and all plays as Parquet by day and hour. It counts less than reprise: it does not
 * rank the weekly counts, has no charts by month or of all time, and serves no clients. Mini-batches and object reuse are
 * on, as Flink's tuning guide recommends for aggregations.
 *
 * <p>{@code Flink fresh --brokers B --topic T --folder DIR [--threads N] [--buffer-timeout 100ms]} counts new plays of
 * each song in such windows, and records when the first count of a probe comes out: a song named P and the microsecond of
 * sending. It prints {@code ready} after the first count, and the latencies when stdin closes.
 */
public class Flink {
  private static final long LIVE_MS_MAX = 600_000;
  /** By the time of sending of a probe: how much later it was counted, both in microseconds. */
  private static final Map<Long, Long> LATENCIES = new ConcurrentHashMap<>();
  private static final CountDownLatch READY = new CountDownLatch(1);

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = new HashMap<>(Map.of("threads", "2", "buffer-timeout", "100ms"));
    for (int i = 1; i + 1 < arguments.length; i += 2) {
      options.put(arguments[i].substring(2), arguments[i + 1]);
    }
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(configuration(arguments[0], options));
    StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
    tables.getConfig().setLocalTimeZone(ZoneOffset.UTC);
    if (arguments[0].equals("live")) {
      live(tables, options);
    } else {
      fresh(environment, tables, options);
    }
    System.exit(0);
  }

  private static Configuration configuration(String mode, Map<String, String> options) {
    Map<String, String> settings = new HashMap<>();
    settings.put("parallelism.default", options.get("threads"));
    settings.put("taskmanager.numberOfTaskSlots", options.get("threads"));
    settings.put("taskmanager.memory.managed.size", "256m");
    settings.put("taskmanager.memory.network.min", "64m");
    settings.put("taskmanager.memory.network.max", "64m");
    settings.put("rest.bind-port", "0");
    settings.put("rest.bind-address", "127.0.0.1");
    settings.put("pipeline.object-reuse", "true");
    settings.put("execution.checkpointing.dir", "file://" + options.get("folder") + "/checkpoints");
    // A bounded job ends with the checkpoint after its last record, so long intervals would delay
    // its end.
    settings.put("execution.checkpointing.interval", "3s");
    if (mode.equals("live")) {
      settings.put("table.exec.mini-batch.enabled", "true");
      settings.put("table.exec.mini-batch.allow-latency", "1s");
      settings.put("table.exec.mini-batch.size", "20000");
    } else {
      settings.put("execution.buffer-timeout.interval", options.get("buffer-timeout"));
    }
    return Configuration.fromMap(settings);
  }

  private static String plays(Map<String, String> options, String scan) {
    return "CREATE TABLE plays (song_id STRING, title STRING, artist STRING, user_id STRING, `timestamp` STRING,"
        + " duration_ms INT, completed BOOLEAN, device STRING, country STRING,"
        + " happened AS TO_TIMESTAMP(`timestamp`), WATERMARK FOR happened AS happened - INTERVAL '10' MINUTE)"
        + " WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = '" + options.get("brokers") + "',"
        + " 'topic' = '" + options.get("topic") + "', 'properties.group.id' = 'peer-flink-" + System.nanoTime() + "',"
        + " 'format' = 'json', 'json.ignore-parse-errors' = 'true', " + scan + ")";
  }

  private static void live(StreamTableEnvironment tables, Map<String, String> options) throws Exception {
    tables.executeSql(plays(options, "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"));
    tables.executeSql("CREATE TABLE trending (opens TIMESTAMP(3), closes TIMESTAMP(3), song_id STRING, title STRING,"
        + " artist STRING, plays BIGINT, place BIGINT) WITH ('connector' = 'blackhole')");
    tables.executeSql("CREATE TABLE weekly (country STRING, week BIGINT, song_id STRING, plays BIGINT)"
        + " WITH ('connector' = 'blackhole')");
    tables.executeSql("CREATE TABLE lake (song_id STRING, title STRING, artist STRING, user_id STRING,"
        + " `timestamp` STRING, duration_ms INT, completed BOOLEAN, device STRING, country STRING,"
        + " happened TIMESTAMP(3), `date` STRING, `hour` STRING) PARTITIONED BY (`date`, `hour`)"
        + " WITH ('connector' = 'filesystem', 'path' = 'file://" + options.get("folder") + "/lake', 'format' = 'parquet',"
        + " 'parquet.compression' = 'SNAPPY', 'sink.rolling-policy.file-size' = '128MB')");
    StatementSet statements = tables.createStatementSet();
    statements.addInsertSql("INSERT INTO trending SELECT window_start, window_end, song_id, title, artist, plays, place"
        + " FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY plays DESC) AS place"
        + " FROM (" + counts("window_start, window_end, song_id, title, artist") + ")) WHERE place <= 10");
    String week = "EXTRACT(YEAR FROM happened) * 100 + EXTRACT(WEEK FROM happened)";
    statements.addInsertSql("INSERT INTO weekly SELECT country, " + week + ", song_id, COUNT(*) FROM plays"
        + " GROUP BY country, " + week + ", song_id");
    statements.addInsertSql("INSERT INTO lake SELECT song_id, title, artist, user_id, `timestamp`, duration_ms, completed,"
        + " device, country, happened, DATE_FORMAT(happened, 'yyyy-MM-dd'), DATE_FORMAT(happened, 'HH') FROM plays");
    // It returns when the job has been planned and submitted. These seconds count as startup.
    TableResult running = statements.execute();
    long began = System.nanoTime();
    long startMs = System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime();
    running.await();
    System.out.printf("{\"startup_s\":%.3f,\"job_s\":%.3f}%n", startMs / 1e3, (System.nanoTime() - began) / 1e9);
  }

  private static String counts(String what) {
    return "SELECT " + what + ", COUNT(*) AS plays FROM TABLE(HOP(TABLE plays, DESCRIPTOR(happened), INTERVAL '1' MINUTE,"
        + " INTERVAL '10' MINUTE)) WHERE completed GROUP BY " + what;
  }

  private static void fresh(
      StreamExecutionEnvironment environment, StreamTableEnvironment tables, Map<String, String> options)
      throws Exception {
    tables.executeSql(plays(options, "'scan.startup.mode' = 'latest-offset'"));
    // Not grouped by window_end too: such a window would be counted only when it is over, not at
    // each play.
    String query = counts("song_id, window_start, title, artist");
    tables.toChangelogStream(tables.sqlQuery(query)).process(new Probes());
    var job = environment.executeAsync("fresh");
    READY.await();
    System.out.println("ready");
    waitForEndOfInput();
    job.cancel();
    System.out.println(LATENCIES.entrySet().stream()
        .map(probe -> "[" + probe.getKey() + "," + probe.getValue() + "]")
        .collect(Collectors.joining(",", "{\"latencies_us\":[", "]}")));
  }

  private static void waitForEndOfInput() throws IOException, InterruptedException {
    long deadline = System.currentTimeMillis() + LIVE_MS_MAX;
    while (System.currentTimeMillis() < deadline) {
      if (System.in.read() < 0) {
        return;
      }
    }
  }

  /** Records when a probe is first counted. */
  public static class Probes extends ProcessFunction<Row, Void> {
    @Override
    public void processElement(Row row, Context context, Collector<Void> out) {
      Instant now = Instant.now();
      String song = (String) row.getField(0);
      if (song != null && song.startsWith("P")) {
        long sent = Long.parseLong(song.substring(1));
        LATENCIES.putIfAbsent(sent, now.getEpochSecond() * 1_000_000 + now.getNano() / 1000 - sent);
      }
      READY.countDown();
    }
  }
}
