// Produces records of any content, unlike `reprise generate`: just enough of Kafka's protocol for
// the tests.

import { connect } from 'node:net';

const CREATE_TOPICS = 19;
const PRODUCE = 0;

const CRC_TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});
const crc32c = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
};

const sized = (length, write) => {
  const bytes = Buffer.alloc(length);
  write(bytes);
  return bytes;
};
const i8 = (value) => sized(1, (bytes) => bytes.writeInt8(value));
const i16 = (value) => sized(2, (bytes) => bytes.writeInt16BE(value));
const i32 = (value) => sized(4, (bytes) => bytes.writeInt32BE(value));
const u32 = (value) => sized(4, (bytes) => bytes.writeUInt32BE(value));
const i64 = (value) => sized(8, (bytes) => bytes.writeBigInt64BE(BigInt(value)));
const string = (text) => Buffer.concat([i16(Buffer.byteLength(text)), Buffer.from(text)]);
const array = (items) => Buffer.concat([i32(items.length), ...items]);
const varint = (value) => {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  const bytes = [];
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
};

// No producer id, epoch and sequence.
const NO_PRODUCER = Buffer.concat([i64(-1), i16(-1), i32(-1)]);

function batch(values) {
  const now = Date.now();
  const records = values.map((value, index) => {
    const bytes = Buffer.from(value);
    const record = Buffer.concat([i8(0), varint(0), varint(index), varint(-1), varint(bytes.length), bytes, varint(0)]);
    return Buffer.concat([varint(record.length), record]);
  });
  const head = [i16(0), i32(values.length - 1), i64(now), i64(now), NO_PRODUCER];
  const summed = Buffer.concat([...head, array(records)]);
  const rest = Buffer.concat([i32(-1), i8(2), u32(crc32c(summed)), summed]);
  return Buffer.concat([i64(0), i32(rest.length), rest]);
}

// Sends one request, and resolves to the answer after its correlation id.
function request(brokers, api, version, body) {
  const [host, port] = brokers.split(',')[0].split(/:(?=\d+$)/);
  const bytes = Buffer.concat([i16(api), i16(version), i32(1), string('test-page'), body]);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(Buffer.concat([i32(bytes.length), bytes])));
    let answer = Buffer.alloc(0);
    socket.on('data', (part) => {
      answer = Buffer.concat([answer, part]);
      if (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) return;
      socket.destroy();
      resolve(answer.subarray(8));
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${brokers} has closed the connection`)));
  });
}

// Creates a topic with one partition, on the only broker.
export async function createTopic(brokers, topic) {
  const described = Buffer.concat([string(topic), i32(1), i16(1), array([]), array([])]);
  const answer = await request(brokers, CREATE_TOPICS, 2, Buffer.concat([array([described]), i32(30_000), i8(0)]));
  // Before the error: throttle time, number of topics, the name.
  const code = answer.readInt16BE(8 + 2 + Buffer.byteLength(topic));
  if (code !== 0) throw new Error(`cannot create the topic ${topic}: Kafka's error ${code}`);
}

// Produces values to partition 0, and resolves when Kafka has stored all of them.
export async function produce(brokers, topic, values) {
  const records = batch(values);
  const partition = Buffer.concat([i32(0), i32(records.length), records]);
  const body = [i16(-1), i16(-1), i32(30_000), array([Buffer.concat([string(topic), array([partition])])])];
  const answer = await request(brokers, PRODUCE, 3, Buffer.concat(body));
  const code = answer.readInt16BE(4 + 2 + Buffer.byteLength(topic) + 4 + 4);
  if (code !== 0) throw new Error(`cannot write to ${topic}: Kafka's error ${code}`);
}

// A play as documented, with the fields in `change` replaced.
export const play = (change = {}) =>
  JSON.stringify({
    song_id: 'S1',
    title: 'A Song',
    artist: 'A Singer',
    user_id: 'U1',
    timestamp: new Date().toISOString(),
    duration_ms: 200_000,
    completed: true,
    device: 'mobile',
    country: 'DE',
    ...change,
  });
