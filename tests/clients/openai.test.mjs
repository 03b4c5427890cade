// The official OpenAI client, unmodified, against a real mesh: chat, models, tokens, errors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
  bothWays, DODGERS, DODGERS_ANSWER, limits, MODEL, SCALE, SCALE_ANSWER, SCALE_ARGUMENTS, SCALE_TOOL,
} from './both_ways.mjs';
import { client, mesh } from './openai_client.mjs';

const MESSAGES = [{ role: 'system', content: DODGERS.system }, { role: 'user', content: DODGERS.user }];
const STORY = [{ role: 'user', content: 'Tell me a story about a sheep.' }];
const TOOLS = [{ type: 'function', function: SCALE_TOOL }];

// The whole completion; of a stream, put together by the client itself. It does not know `reasoning_content`.
async function chat(params, stream) {
  const request = { model: MODEL, temperature: 0, ...params };
  if (!stream) return client.chat.completions.create(request);
  const runner = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
  const reasonings = [];
  runner.on('chunk', (chunk) => {
    for (const { index, delta } of chunk.choices) {
      reasonings[index] = (reasonings[index] ?? '') + (delta.reasoning_content ?? '');
    }
  });
  const completion = await runner.finalChatCompletion();
  for (const choice of completion.choices) choice.message.reasoning_content = reasonings[choice.index] || null;
  return completion;
}

bothWays('a chat completion', async (stream) => {
  const completion = await chat({ messages: MESSAGES }, stream);
  assert.equal(completion.model, MODEL);
  assert.match(completion.id, /^chatcmpl-/);
  const [choice] = completion.choices;
  assert.equal(choice.message.role, 'assistant');
  assert.equal(choice.message.content, DODGERS_ANSWER);
  assert.match(choice.message.reasoning_content, /^The user asks which team won/);
  assert.equal(choice.finish_reason, 'stop');
  const { prompt_tokens, completion_tokens, total_tokens, completion_tokens_details } = completion.usage;
  assert.deepEqual({ prompt_tokens, completion_tokens, total_tokens },
    { prompt_tokens: 23, completion_tokens: 73, total_tokens: 96 });
  assert.ok(completion_tokens_details.reasoning_tokens > 10 && completion_tokens_details.reasoning_tokens < 73);
});

test('a stream comes in pieces, with its role first', limits, async () => {
  const stream = await client.chat.completions.create({ model: MODEL, temperature: 0, messages: MESSAGES, stream: true });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.ok(chunks.every((chunk) => chunk.object === 'chat.completion.chunk' && chunk.usage === undefined));
  assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
  assert.ok(chunks.filter((chunk) => chunk.choices[0].delta.content).length > 5, 'it comes in pieces');
  for (const { choices: [{ delta }] } of chunks) assert.equal(delta.reasoning, delta.reasoning_content, 'both names');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
});

test('usage so far in every chunk', limits, async () => {
  const stream = await client.chat.completions.create({
    model: MODEL,
    temperature: 0,
    messages: MESSAGES,
    stream: true,
    stream_options: { include_usage: true, continuous_usage_stats: true },
  });
  const counts = [];
  for await (const chunk of stream) counts.push(chunk.usage.completion_tokens);
  assert.deepEqual(counts, [...counts].sort((a, b) => a - b));
  assert.equal(counts[0], 0);
  assert.equal(counts.at(-1), 73);
});

bothWays('several choices', async (stream) => {
  const request = { temperature: 1.2, seed: 5, n: 2, max_tokens: 30, messages: STORY };
  const { choices } = await chat(request, stream);
  assert.deepEqual(choices.map((choice) => choice.index), [0, 1]);
  const texts = choices.map(({ message }) => (message.reasoning_content ?? '') + (message.content ?? ''));
  assert.notEqual(texts[0], texts[1]);
  const again = await chat(request, !stream);
  assert.deepEqual(again.choices.map(({ message }) => (message.reasoning_content ?? '') + (message.content ?? '')), texts,
    'a seed repeats them');
});

bothWays('a stop string ends the text before it', async (stream) => {
  const { choices: [choice] } = await chat({ messages: MESSAGES, stop: [' in six', 'never'] }, stream);
  assert.equal(choice.message.content, DODGERS_ANSWER.slice(0, DODGERS_ANSWER.indexOf(' in six')));
  assert.equal(choice.finish_reason, 'stop');
});

for (const name of ['max_tokens', 'max_completion_tokens']) {
  bothWays(`${name} is the limit`, async (stream) => {
    const completion = await chat({ messages: MESSAGES, [name]: 5 }, stream);
    assert.equal(completion.usage.completion_tokens, 5);
    assert.equal(completion.choices[0].finish_reason, 'length');
  });
}

bothWays('log-probabilities', async (stream) => {
  const { choices: [choice], usage } = await chat({ messages: MESSAGES, logprobs: true, top_logprobs: 2 }, stream);
  const entries = choice.logprobs.content;
  assert.equal(entries.length, usage.completion_tokens - 1, 'all but the end');
  const text = Buffer.from(entries.flatMap((entry) => entry.bytes)).toString();
  assert.equal(text, `${choice.message.reasoning_content}\n</think>\n\n${choice.message.content}`);
  for (const { token, logprob, top_logprobs: top } of entries) {
    assert.equal(top.length, 2);
    assert.equal(top[0].token, token, 'greedy: the likeliest was taken');
    assert.ok(logprob <= 0 && top[0].logprob >= top[1].logprob);
  }
});

bothWays('a tool is called, and its result answered', async (stream) => {
  const messages = [{ role: 'user', content: SCALE }];
  const { choices: [choice] } = await chat({ messages, tools: TOOLS }, stream);
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(choice.message.content, null);
  assert.equal(choice.message.tool_calls.length, 1);
  const [call] = choice.message.tool_calls;
  assert.equal(call.type, 'function');
  assert.equal(call.function.name, SCALE_TOOL.name);
  assert.deepEqual(JSON.parse(call.function.arguments), SCALE_ARGUMENTS);
  messages.push(choice.message, { role: 'tool', tool_call_id: call.id, content: '{"ok": true}' });
  const next = await chat({ messages, tools: TOOLS }, stream);
  assert.equal(next.choices[0].message.content, SCALE_ANSWER);
  assert.equal(next.choices[0].finish_reason, 'stop');
});

test('arguments of a call come as they are written', limits, async () => {
  const messages = [{ role: 'user', content: SCALE }];
  const runner = client.chat.completions.stream({ model: MODEL, temperature: 0, messages, tools: TOOLS });
  let pieces = 0;
  runner.on('tool_calls.function.arguments.delta', () => { pieces += 1; });
  await runner.done();
  assert.ok(pieces > 3, `${pieces}`);
});

bothWays("the client's own loop over tools", async (stream) => {
  const called = [];
  const runner = client.chat.completions.runTools({
    model: MODEL,
    temperature: 0,
    stream,
    messages: [{ role: 'user', content: SCALE }],
    tools: [{
      type: 'function',
      function: {
        ...SCALE_TOOL,
        parse: JSON.parse,
        function: (given) => {
          called.push(given);
          return '{"ok": true}';
        },
      },
    }],
  });
  assert.equal(await runner.finalContent(), SCALE_ANSWER);
  assert.deepEqual(called, [SCALE_ARGUMENTS]);
});

bothWays('tool_choice none', async (stream) => {
  const { choices: [choice] } =
    await chat({ messages: [{ role: 'user', content: SCALE }], tools: TOOLS, tool_choice: 'none', max_tokens: 40 }, stream);
  assert.equal(choice.message.tool_calls, undefined);
});

bothWays('a last message is carried on', async (stream) => {
  const begun = 'The Los Angeles Dodgers';
  const messages = [...MESSAGES, { role: 'assistant', content: begun }];
  const { choices: [choice] } =
    await chat({ messages, continue_final_message: true, add_generation_prompt: false, max_tokens: 20 }, stream);
  assert.equal(choice.message.reasoning_content, null);
  assert.ok(DODGERS_ANSWER.slice(begun.length).startsWith(choice.message.content), choice.message.content);
});

bothWays('token ids', async (stream) => {
  const request = { model: MODEL, temperature: 0, messages: MESSAGES, return_token_ids: true };
  let prompt = [];
  let ids = [];
  if (stream) {
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
      prompt = chunk.prompt_token_ids ?? prompt;
      ids.push(...(chunk.choices[0]?.token_ids ?? []));
    }
  } else {
    const completion = await client.chat.completions.create(request);
    prompt = completion.prompt_token_ids;
    ids = completion.choices[0].token_ids;
  }
  assert.equal(prompt.length, 23);
  assert.equal(ids.length, 73);
  const { tokens } = await client.post(`${mesh.url}/tokenize`, { body: { messages: MESSAGES } });
  assert.deepEqual(tokens, prompt);
  const text = await client.post(`${mesh.url}/detokenize`, { body: { tokens: ids } });
  assert.ok(text.prompt.includes(DODGERS_ANSWER));
});

test('text to tokens and back', limits, async () => {
  const text = 'Ein Satz, 这是一句话, and \u{1F411}.';
  const { tokens, count, max_model_len } =
    await client.post(`${mesh.url}/tokenize`, { body: { model: MODEL, prompt: text, add_special_tokens: false } });
  assert.equal(tokens.length, count);
  assert.equal(max_model_len, 8192);
  const back = await client.post(`${mesh.url}/detokenize`, { body: { model: MODEL, tokens } });
  assert.equal(back.prompt, text);
});

test('the models', limits, async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model);
  assert.deepEqual(models.map((model) => model.id), [MODEL]);
  assert.equal(models[0].object, 'model');
  assert.equal(typeof models[0].created, 'number');
  assert.deepEqual(await client.models.retrieve(MODEL), models[0]);
  await assert.rejects(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
});

bothWays('an unknown model is a NotFoundError that names it', async (stream) => {
  await assert.rejects(client.chat.completions.create({ model: 'no-such-model', messages: MESSAGES, stream }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError, `${error}`);
    assert.match(error.message, /no-such-model/);
    assert.equal(error.param, 'model');
    return true;
  });
});

bothWays('a bad field is a BadRequestError with its param', async (stream) => {
  const bad = { model: MODEL, messages: MESSAGES, temperature: -1, stream };
  await assert.rejects(client.chat.completions.create(bad), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, 'temperature');
    assert.equal(error.type, 'invalid_request_error');
    assert.match(error.requestID, /^req-/);
    return true;
  });
});

test("a request keeps its client's id", limits, async () => {
  const options = { headers: { 'x-request-id': 'mine-1' } };
  const { _request_id } = await client.chat.completions.create({ model: MODEL, messages: MESSAGES, max_tokens: 1 }, options);
  assert.equal(_request_id, 'mine-1');
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
  const next = await chat({ messages: MESSAGES }, false);
  assert.equal(next.choices[0].message.content, DODGERS_ANSWER);
});
