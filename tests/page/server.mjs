// The program that serves the page, over its own topic in a real Kafka: filled with plays, started,
// killed, restarted.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { createTopic, produce } from './produce.mjs';

const PROGRAM = process.env.REPRISE_BIN ?? fileURLToPath(new URL('../../target/release/reprise', import.meta.url));
const BROKERS = process.env.KAFKA_BOOTSTRAP_SERVERS;
const CHARTS = fileURLToPath(new URL('charts.toml', import.meta.url));
// Much longer than any step takes, even on a busy machine.
const TIMEOUT_MS = 60_000;

// Calls `answer` until it returns a value, or fails and names `what`.
export async function eventually(what, answer, timeoutMs = TIMEOUT_MS) {
  const until = Date.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const found = await answer();
      if (found) return found;
    } catch (error) {
      last = `: ${error.message}`;
    }
    if (Date.now() > until) throw new Error(`${what}: not within ${timeoutMs} ms${last}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// An existing server to test instead, if one is given. The tests must not fill or kill it, and its
// charts must not change during them.
export const GIVEN = process.env.REPRISE_URL?.replace(/\/$/, '');

export class Server {
  // `charts` is the path of the charts file.
  static async start({ charts = CHARTS } = {}) {
    const server = new Server();
    server.charts = charts;
    try {
      if (GIVEN) server.url = GIVEN;
      else await server.fill();
      const first = async () => (await server.get('/v1/trending')).entries[0];
      const { track_id: track, artist } = await eventually('a track that is trending', first);
      Object.assign(server, { track, artist });
      return server;
    } catch (error) {
      // Otherwise the server would outlive the tests and block their exit.
      await server.stop();
      throw error;
    }
  }

  // A server over an empty topic with one partition.
  static async empty({ charts = CHARTS } = {}) {
    const server = new Server();
    server.charts = charts;
    try {
      await server.prepare();
      await createTopic(BROKERS, server.topic);
      await server.run();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  // The port is chosen here, because the page must find the server at the same address after a
  // restart.
  async prepare() {
    if (!BROKERS) throw new Error('KAFKA_BOOTSTRAP_SERVERS is not set: scripts/page starts a Kafka and sets it');
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    this.topic = `test-page-${Date.now()}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    this.folder = await mkdtemp(join(tmpdir(), 'reprise-page-'));
  }

  // Produces records of any content to the first partition.
  produce(values) {
    return produce(BROKERS, this.topic, values);
  }

  async fill() {
    await this.prepare();
    await this.play({ count: 20_000, history: '20d', seed: 7 });
    await this.play({ count: 3000, seed: 8 });
    await this.run();
  }

  // Starts the program, and waits until all plays of the topic are counted.
  async run() {
    const options = ['--topic', this.topic, '--lake', join(this.folder, 'lake'), '--listen', `127.0.0.1:${this.port}`];
    this.log = '';
    this.process = spawn(PROGRAM, ['run', '--brokers', BROKERS, '--charts', this.charts, '-w', '1', ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process.stderr.on('data', (text) => (this.log += text));
    this.gone = new Promise((resolve) => this.process.once('exit', resolve));
    await eventually('a server that is ready', async () => {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.log}`);
      return (await fetch(`${this.url}/readyz`)).ok;
    });
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.gone;
  }

  async stop() {
    if (this.process && this.process.exitCode === null) await this.kill();
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }

  // Generates plays, and resolves when Kafka has stored all of them.
  play(options) {
    const flags = Object.entries({ rate: 'max', ...options }).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const generator = spawn(PROGRAM, ['generate', '--brokers', BROKERS, '--topic', this.topic, ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    generator.stderr.on('data', (text) => (log += text));
    return new Promise((resolve, reject) => {
      generator.once('error', reject);
      generator.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`reprise generate: ${log}`))));
    });
  }

  async get(path) {
    const response = await fetch(this.url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
