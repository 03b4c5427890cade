// The official OpenAI client, unmodified, against a real mesh.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { startMesh } from './mesh.mjs';

const MODEL = 'bellwether-nano';
const DODGERS = [
  { role: 'system', content: 'You are a helpful assistant.' },
  { role: 'user', content: 'Who won the world series in 2020?' },
];
const STORY = [{ role: 'user', content: 'Tell me a story about a sheep.' }];
const USAGE = { prompt_tokens: 23, completion_tokens: 73, total_tokens: 96 };
const limits = { timeout: 60_000 };

let mesh;
let client;

before(async () => {
  mesh = await startMesh();
  client = new OpenAI({ baseURL: `${mesh.url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 30_000 });
}, { timeout: 90_000 });

after(async () => {
  if (mesh) assert.equal(await mesh.stop(), 0, 'bellwether up ends with status 0');
}, { timeout: 60_000 });

function assertUsage(usage) {
  const { prompt_tokens, completion_tokens, total_tokens } = usage;
  assert.deepEqual({ prompt_tokens, completion_tokens, total_tokens }, USAGE);
}

test('a chat completion', limits, async () => {
  const completion = await client.chat.completions.create({ model: MODEL, temperature: 0, messages: DODGERS });
  assert.equal(completion.object, 'chat.completion');
  assert.equal(completion.model, MODEL);
  const [choice] = completion.choices;
  assert.equal(choice.message.role, 'assistant');
  assert.equal(choice.finish_reason, 'stop');
  assert.match(choice.message.content, /^The Los Angeles Dodgers won the 2020 World Series\./);
  assert.match(choice.message.reasoning_content, /^The user asks which team won/);
  assertUsage(completion.usage);
});

test('a streamed chat completion equals the other', limits, async () => {
  const whole = await client.chat.completions.create({ model: MODEL, temperature: 0, messages: DODGERS });
  const stream = await client.chat.completions.create({
    model: MODEL,
    temperature: 0,
    messages: DODGERS,
    stream: true,
    stream_options: { include_usage: true },
  });
  let content = '';
  let reasoning = '';
  let pieces = 0;
  const finishReasons = [];
  const usages = [];
  for await (const chunk of stream) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    if (chunk.usage) usages.push(chunk.usage);
    for (const choice of chunk.choices) {
      if (choice.delta.content) pieces += 1;
      content += choice.delta.content ?? '';
      reasoning += choice.delta.reasoning_content ?? '';
      if (choice.finish_reason) finishReasons.push(choice.finish_reason);
    }
  }
  assert.equal(content, whole.choices[0].message.content);
  assert.equal(reasoning, whole.choices[0].message.reasoning_content);
  assert.ok(pieces > 5, `it comes in pieces, not at once (${pieces})`);
  assert.deepEqual(finishReasons, ['stop']);
  assert.equal(usages.length, 1);
  assertUsage(usages[0]);
});

test('several choices, whole and streamed', limits, async () => {
  const request = { model: MODEL, temperature: 1.2, seed: 5, n: 2, max_tokens: 30, messages: STORY };
  const whole = await client.chat.completions.create(request);
  assert.deepEqual(whole.choices.map((choice) => choice.index), [0, 1]);
  const texts = ['', ''];
  const stream = await client.chat.completions.create({ ...request, stream: true });
  for await (const chunk of stream) {
    for (const { index, delta } of chunk.choices) {
      texts[index] += (delta.reasoning_content ?? '') + (delta.content ?? '');
    }
  }
  const text = ({ message }) => (message.reasoning_content ?? '') + (message.content ?? '');
  assert.deepEqual(texts, whole.choices.map(text));
  assert.notEqual(texts[0], texts[1]);
});

test('a completion', limits, async () => {
  const completion = await client.completions.create({
    model: MODEL,
    temperature: 0,
    max_tokens: 8,
    prompt: 'The Los Angeles Dodgers won',
  });
  assert.equal(completion.object, 'text_completion');
  assert.equal(completion.choices[0].finish_reason, 'length');
  assert.equal(completion.usage.completion_tokens, 8);
  assert.ok(completion.choices[0].text.length > 0);
});

test('the model list', limits, async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model);
  assert.deepEqual(models.map((model) => model.id), [MODEL]);
  assert.equal(models[0].object, 'model');
  assert.equal(typeof models[0].created, 'number');
});

test('an unknown model is a NotFoundError that names it', limits, async () => {
  await assert.rejects(client.chat.completions.create({ model: 'no-such-model', messages: DODGERS }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
    assert.match(error.message, /no-such-model/);
    return true;
  });
});

test('a bad field is a BadRequestError with its param', limits, async () => {
  const bad = { model: MODEL, messages: DODGERS, temperature: -1 };
  await assert.rejects(client.chat.completions.create(bad), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, 'temperature');
    return true;
  });
});

test('an aborted stream ends, and the next request is served', limits, async () => {
  const stream = await client.chat.completions.create({ model: MODEL, temperature: 0, messages: STORY, stream: true });
  let chunks = 0;
  for await (const chunk of stream) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    chunks += 1;
    if (chunks === 3) stream.controller.abort();
  }
  assert.ok(chunks >= 3);
  const next = await client.chat.completions.create({ model: MODEL, temperature: 0, messages: DODGERS });
  assert.match(next.choices[0].message.content, /Dodgers/);
});
