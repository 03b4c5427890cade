// The official OpenAI client on a mesh of its own: for the tests of the file that imports it.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import OpenAI from 'openai';
import { startMesh } from './mesh.mjs';

// Set before the file's first test.
export let mesh;
export let client;

before(async () => {
  mesh = await startMesh();
  client = new OpenAI({ baseURL: `${mesh.url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 30_000 });
}, { timeout: 90_000 });

after(async () => {
  if (mesh) assert.equal(await mesh.stop(), 0, 'bellwether up ends with status 0');
}, { timeout: 60_000 });
