// The official OpenAI client's completions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { bothWays, limits, MODEL } from './both_ways.mjs';
import { client, mesh } from './openai_client.mjs';

const PARIS = 'The capital of France is';

// The whole completion, put together by hand: the client has no help for these streams.
async function complete(params, stream) {
  const request = { model: MODEL, temperature: 0, max_tokens: 8, ...params };
  if (!stream) return client.completions.create(request);
  const whole = { choices: [] };
  const chunks = await client.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of chunks) {
    assert.equal(chunk.object, 'text_completion');
    if (chunk.usage) whole.usage = chunk.usage;
    for (const piece of chunk.choices) {
      const choice = whole.choices[piece.index] ??= { index: piece.index, text: '', logprobs: null };
      choice.text += piece.text;
      choice.finish_reason = piece.finish_reason ?? choice.finish_reason;
      if (!piece.logprobs) continue;
      choice.logprobs ??= { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
      for (const [name, values] of Object.entries(choice.logprobs)) values.push(...piece.logprobs[name]);
    }
  }
  return whole;
}

bothWays('a completion', async (stream) => {
  const { choices, usage } = await complete({ prompt: PARIS }, stream);
  assert.equal(choices.length, 1);
  assert.equal(choices[0].text, ' Paris.');
  assert.equal(choices[0].finish_reason, 'stop');
  assert.equal(usage.prompt_tokens, 7);
  assert.equal(usage.completion_tokens, 5);
});

bothWays('several prompts, texts and ids', async (stream) => {
  const { tokens } = await client.post(`${mesh.url}/tokenize`, { body: { prompt: PARIS } });
  const texts = (await complete({ prompt: [PARIS, 'The Los Angeles Dodgers won'] }, stream)).choices;
  assert.deepEqual(texts.map((choice) => choice.index), [0, 1]);
  assert.equal(texts[0].text, ' Paris.');
  const ids = (await complete({ prompt: [tokens, tokens] }, stream)).choices;
  assert.deepEqual(ids.map((choice) => choice.text), [' Paris.', ' Paris.']);
  assert.equal((await complete({ prompt: tokens }, stream)).choices[0].text, ' Paris.');
});

bothWays('several choices of several prompts', async (stream) => {
  const request = { prompt: ['Once upon a time', 'A sheep'], n: 2, temperature: 1.3, seed: 9, max_tokens: 12 };
  const { choices } = await complete(request, stream);
  assert.deepEqual(choices.map((choice) => choice.index), [0, 1, 2, 3]);
  assert.notEqual(choices[0].text, choices[1].text);
  const again = await complete(request, !stream);
  assert.deepEqual(again.choices.map((choice) => choice.text), choices.map((choice) => choice.text));
});

bothWays('a stop string', async (stream) => {
  const { choices: [choice] } = await complete({ prompt: PARIS, stop: 'ris' }, stream);
  assert.equal(choice.text, ' Pa');
  assert.equal(choice.finish_reason, 'stop');
});

bothWays('an echo with log-probabilities', async (stream) => {
  const { choices: [choice] } = await complete({ prompt: PARIS, echo: true, logprobs: 2 }, stream);
  assert.equal(choice.text, `${PARIS} Paris.`);
  const { tokens, token_logprobs: logprobs, top_logprobs: top, text_offset: offsets } = choice.logprobs;
  assert.equal(tokens.join(''), choice.text);
  assert.ok(logprobs.every((logprob) => logprob === null || logprob <= 0));
  assert.equal(top.length, tokens.length);
  offsets.forEach((offset, i) => assert.ok(choice.text.startsWith(tokens[i], offset)));
});

test('log-probabilities of a prompt', limits, async () => {
  const { choices: [choice] } =
    await client.completions.create({ model: MODEL, prompt: PARIS, max_tokens: 1, prompt_logprobs: 1 });
  assert.equal(choice.prompt_logprobs.length, 7);
  assert.equal(choice.prompt_logprobs[0], null);
});

bothWays('what is refused', async (stream) => {
  const request = { model: MODEL, prompt: PARIS, stream };
  for (const [param, value] of [['suffix', 'x'], ['best_of', 3], ['logprobs', 6], ['prompt', []]]) {
    await assert.rejects(client.completions.create({ ...request, [param]: value }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
      assert.equal(error.param, param);
      return true;
    });
  }
});
