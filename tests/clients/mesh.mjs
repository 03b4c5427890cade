// A mesh of real processes, started by `bellwether up` on free ports.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 45_000;

// Resolves with the mesh's URL and `stop()` once it is ready. Rejects with what the program printed when it ends before, or
// takes too long.
export async function startMesh() {
  const program = process.env.BELLWETHER_PROGRAM;
  if (!program) throw new Error('BELLWETHER_PROGRAM must name the program `bellwether`');
  const folder = mkdtempSync(join(tmpdir(), 'bellwether-clients-'));
  const child = spawn(program, ['up', '--http', '127.0.0.1:0', '--log-folder', join(folder, 'logs')], {
    env: { ...process.env, XDG_RUNTIME_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // The mesh must not outlive the tests, however they end: `up` takes its own children with it.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);

  async function stop() {
    process.removeListener('exit', kill);
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const timer = setTimeout(kill, STOP_MS_MAX);
      await once(child, 'exit');
      clearTimeout(timer);
    }
    rmSync(folder, { recursive: true, force: true });
    return child.exitCode;
  }

  try {
    return { url: await readyUrl(child), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function readyUrl(child) {
  return new Promise((resolve, reject) => {
    let printed = '';
    const timer = setTimeout(() => reject(new Error(`not ready after ${READY_MS_MAX} ms:\n${printed}`)), READY_MS_MAX);
    const take = (line) => {
      printed += `${line}\n`;
      const ready = /^ready (http:\S+)/.exec(line);
      if (!ready) return;
      clearTimeout(timer);
      resolve(ready[1]);
    };
    createInterface({ input: child.stdout }).on('line', take);
    createInterface({ input: child.stderr }).on('line', take);
    child.once('error', reject);
    child.once('exit', (status) => {
      clearTimeout(timer);
      reject(new Error(`bellwether up ended with status ${status}:\n${printed}`));
    });
  });
}
