// The official Anthropic client, unmodified, against a real mesh.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import {
  bothWays, DODGERS, DODGERS_ANSWER, limits, MODEL, SCALE, SCALE_ANSWER, SCALE_ARGUMENTS, SCALE_TOOL,
} from './both_ways.mjs';
import { startMesh } from './mesh.mjs';

const MESSAGES = [{ role: 'user', content: DODGERS.user }];
const { parameters, ...NAMED } = SCALE_TOOL;
const TOOLS = [{ ...NAMED, input_schema: parameters }];

let mesh;
let client;

before(async () => {
  mesh = await startMesh();
  client = new Anthropic({ baseURL: mesh.url, apiKey: 'none', maxRetries: 0, timeout: 30_000 });
}, { timeout: 90_000 });

after(async () => {
  if (mesh) assert.equal(await mesh.stop(), 0, 'bellwether up ends with status 0');
}, { timeout: 60_000 });

// The whole message; of a stream, put together by the client itself.
async function send(params, stream) {
  const request = { model: MODEL, temperature: 0, max_tokens: 200, ...params };
  return stream ? client.messages.stream(request).finalMessage() : client.messages.create(request);
}

const block = ({ content }, type) => content.find((each) => each.type === type);

bothWays('a message', async (stream) => {
  const message = await send({ system: DODGERS.system, messages: MESSAGES }, stream);
  assert.equal(message.type, 'message');
  assert.equal(message.role, 'assistant');
  assert.equal(message.model, MODEL);
  assert.deepEqual(message.content.map(({ type }) => type), ['thinking', 'text']);
  assert.match(block(message, 'thinking').thinking, /^The user asks which team won/);
  assert.equal(block(message, 'text').text, DODGERS_ANSWER);
  assert.equal(message.stop_reason, 'end_turn');
  assert.equal(message.usage.input_tokens + message.usage.cache_read_input_tokens, 23);
  assert.equal(message.usage.output_tokens, 73);
});

test('a stream comes in pieces', limits, async () => {
  const stream = client.messages.stream(
    { model: MODEL, temperature: 0, max_tokens: 200, system: DODGERS.system, messages: MESSAGES });
  const texts = [];
  const thoughts = [];
  stream.on('text', (text) => texts.push(text));
  stream.on('thinking', (thought) => thoughts.push(thought));
  await stream.done();
  assert.ok(texts.length > 5 && thoughts.length > 5);
  assert.equal(texts.join(''), DODGERS_ANSWER);
});

bothWays('without the thinking', async (stream) => {
  const message = await send({ system: DODGERS.system, messages: MESSAGES, thinking: { type: 'disabled' } }, stream);
  assert.deepEqual(message.content, [{ type: 'text', text: DODGERS_ANSWER }]);
});

bothWays('max_tokens', async (stream) => {
  const message = await send({ messages: MESSAGES, max_tokens: 5 }, stream);
  assert.equal(message.stop_reason, 'max_tokens');
  assert.equal(message.usage.output_tokens, 5);
});

bothWays('a stop sequence', async (stream) => {
  const message = await send({ system: DODGERS.system, messages: MESSAGES, stop_sequences: [' in six'] }, stream);
  assert.equal(message.stop_reason, 'stop_sequence');
  assert.equal(message.stop_sequence, ' in six');
  assert.equal(block(message, 'text').text, DODGERS_ANSWER.slice(0, DODGERS_ANSWER.indexOf(' in six')));
});

bothWays('a tool is used, and its result answered', async (stream) => {
  const messages = [{ role: 'user', content: SCALE }];
  const message = await send({ messages, tools: TOOLS }, stream);
  assert.equal(message.stop_reason, 'tool_use');
  const use = block(message, 'tool_use');
  assert.equal(use.name, SCALE_TOOL.name);
  assert.deepEqual(use.input, SCALE_ARGUMENTS);
  messages.push({ role: 'assistant', content: message.content }, {
    role: 'user',
    content: [{ type: 'tool_result', tool_use_id: use.id, content: '{"ok": true}' }],
  });
  const next = await send({ messages, tools: TOOLS }, stream);
  assert.equal(block(next, 'text').text, SCALE_ANSWER);
});

bothWays('the beginning of an answer is carried on', async (stream) => {
  const begun = 'The Los Angeles Dodgers';
  const message = await send({ messages: [...MESSAGES, { role: 'assistant', content: begun }], max_tokens: 10 }, stream);
  assert.ok(DODGERS_ANSWER.slice(begun.length).startsWith(block(message, 'text').text), block(message, 'text').text);
});

test('counting tokens', limits, async () => {
  const counted = await client.messages.countTokens({ model: MODEL, system: DODGERS.system, messages: MESSAGES });
  assert.equal(counted.input_tokens, 23);
});

bothWays('errors', async (stream) => {
  const request = { model: MODEL, max_tokens: 5, messages: MESSAGES, stream };
  await assert.rejects(client.messages.create({ ...request, model: 'no-such-model' }), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError, `${error}`);
    assert.equal(error.error.error.type, 'not_found_error');
    return true;
  });
  await assert.rejects(client.messages.create({ ...request, temperature: 7 }), (error) => {
    assert.ok(error instanceof Anthropic.BadRequestError, `${error}`);
    assert.match(error.message, /temperature/);
    return true;
  });
});

test('an aborted stream ends, and the next request is served', limits, async () => {
  const stream = await client.messages.create(
    { model: MODEL, temperature: 0, max_tokens: 2000, messages: [{ role: 'user', content: 'Tell me a story about a sheep.' }], stream: true });
  let events = 0;
  for await (const event of stream) {
    assert.ok(event.type);
    events += 1;
    if (events === 5) stream.controller.abort();
  }
  assert.ok(events >= 5);
  assert.equal((await send({ messages: MESSAGES, max_tokens: 5 }, false)).stop_reason, 'max_tokens');
});
