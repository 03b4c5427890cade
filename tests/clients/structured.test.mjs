// Structured output, judged by a validator that is not ours: whatever the temperature, an answer that ended by itself is
// valid. STRUCTURED_SCHEMAS says how many random schemas are tried, STRUCTURED_SEED which ones.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import OpenAI from 'openai';
import { startMesh } from './mesh.mjs';
import { makeRandom, randomSchema } from './random_schema.mjs';

const MODEL = 'bellwether-nano';
const SCHEMAS = Number(process.env.STRUCTURED_SCHEMAS ?? 30);
const SEED = Number(process.env.STRUCTURED_SEED ?? 1);
const IN_FLIGHT_MAX = 8;
const QUESTION = [{ role: 'user', content: 'What is the capital of France?' }];
const limits = { timeout: 120_000 };

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);

let mesh;
let client;
let anthropic;

before(async () => {
  mesh = await startMesh();
  const options = { apiKey: 'none', maxRetries: 0, timeout: 100_000 };
  client = new OpenAI({ ...options, baseURL: `${mesh.url}/v1` });
  anthropic = new Anthropic({ ...options, baseURL: mesh.url });
}, { timeout: 90_000 });

after(async () => {
  if (mesh) assert.equal(await mesh.stop(), 0, 'bellwether up ends with status 0');
}, { timeout: 60_000 });

function assertValid(schema, text) {
  const value = JSON.parse(text);
  assert.ok(ajv.validate(schema, value), `${text}\nis not ${JSON.stringify(schema)}:\n${ajv.errorsText()}`);
  return value;
}

// The answer of a chat as one value, streamed or not: { content, reasoning, calls: [{ name, arguments }], finish }.
async function ask(body, streamed) {
  const request = { model: MODEL, messages: QUESTION, max_tokens: 600, ...body };
  if (!streamed) {
    const { message, finish_reason } = (await client.chat.completions.create(request)).choices[0];
    return {
      content: message.content ?? '',
      reasoning: message.reasoning_content ?? '',
      calls: (message.tool_calls ?? []).map((call) => call.function),
      finish: finish_reason,
    };
  }
  const answer = { content: '', reasoning: '', calls: [], finish: null };
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    const { delta, finish_reason } = chunk.choices[0];
    answer.content += delta.content ?? '';
    answer.reasoning += delta.reasoning_content ?? '';
    for (const call of delta.tool_calls ?? []) {
      answer.calls[call.index] ??= { name: '', arguments: '' };
      answer.calls[call.index].name += call.function.name ?? '';
      answer.calls[call.index].arguments += call.function.arguments ?? '';
    }
    answer.finish = finish_reason ?? answer.finish;
  }
  return answer;
}

for (const streamed of [false, true]) {
  const how = streamed ? ', streamed' : '';

  test(`a schema after the reasoning${how}`, limits, async () => {
    const schema = {
      type: 'object',
      properties: { capital: { type: 'string', maxLength: 20 }, inhabitants: { type: 'integer', minimum: 1 } },
      required: ['capital', 'inhabitants'],
      additionalProperties: false,
    };
    const answer = await ask({
      temperature: 0,
      response_format: { type: 'json_schema', json_schema: { name: 'city', strict: true, schema } },
    }, streamed);
    assert.equal(answer.finish, 'stop');
    assert.ok(answer.reasoning.length > 10, 'the reasoning is free');
    assertValid(schema, answer.content);
    assert.equal(answer.content, answer.content.trim());
  });

  test(`any JSON object${how}`, limits, async () => {
    let ended = 0;
    for (let seed = 0; seed < 4; ++seed) {
      const answer = await ask({ temperature: 1.5, seed, response_format: { type: 'json_object' } }, streamed);
      if (answer.finish !== 'stop') continue;
      ended += 1;
      const value = JSON.parse(answer.content);
      assert.ok(value !== null && typeof value === 'object' && !Array.isArray(value), answer.content);
    }
    assert.ok(ended > 0, 'some answer ended by itself');
  });

  test(`a pattern, a choice, a grammar${how}`, limits, async () => {
    const outputs = [
      [{ regex: '[A-Z][a-z]{2,8} \\d{4}' }, /^[A-Z][a-z]{2,8} \d{4}$/],
      [{ choice: ['Paris', 'Berlin', 'Rome'] }, /^(Paris|Berlin|Rome)$/],
      [{ grammar: 'root ::= number (" + " number){1,3}\nnumber ::= [1-9] [0-9]?' },
        /^[1-9]\d?( \+ [1-9]\d?){1,3}$/],
    ];
    for (const [structured_outputs, expected] of outputs) {
      const greedy = await ask({ temperature: 0, structured_outputs }, streamed);
      assert.equal(greedy.finish, 'stop');
      assert.match(greedy.content, expected);
      assert.ok(greedy.reasoning.length > 10);
      const old = Object.fromEntries(Object.entries(structured_outputs).map(([key, value]) => [`guided_${key}`, value]));
      assert.equal((await ask({ temperature: 0, ...old }, streamed)).content, greedy.content);
    }
  });

  const tools = [
    {
      type: 'function',
      function: {
        name: 'get_capital',
        description: 'The capital of a country',
        parameters: {
          type: 'object',
          properties: { country: { type: 'string', maxLength: 12 }, year: { type: 'integer', minimum: 1900, maximum: 2100 } },
          required: ['country', 'year'],
          additionalProperties: false,
        },
      },
    },
    {
      type: 'function',
      function: {
        name: 'get_river',
        parameters: { type: 'object', properties: { depth: { enum: [1, 2, 3] } }, required: ['depth'] },
      },
    },
  ];
  const assertCalls = (answer, many) => {
    assert.equal(answer.finish, 'tool_calls');
    assert.equal(answer.content, '');
    assert.ok(many ? answer.calls.length >= 1 : answer.calls.length === 1, `${answer.calls.length} calls`);
    for (const call of answer.calls) {
      const tool = tools.find(({ function: { name } }) => name === call.name);
      assert.ok(tool, `unknown function ${call.name}`);
      assertValid(tool.function.parameters, call.arguments);
    }
  };

  test(`a required call, a named one${how}`, limits, async () => {
    assertCalls(await ask({ temperature: 0, tools, tool_choice: 'required' }, streamed), true);
    const one = { temperature: 0, tools, tool_choice: 'required', parallel_tool_calls: false };
    assertCalls(await ask(one, streamed), false);
    const named = { type: 'function', function: { name: 'get_river' } };
    const answer = await ask({ temperature: 0, tools, tool_choice: named }, streamed);
    assertCalls(answer, false);
    assert.equal(answer.calls[0].name, 'get_river');
    for (let seed = 0; seed < 4; ++seed) {
      const wild = await ask({ temperature: 1.5, seed, tools, tool_choice: 'required', max_tokens: 400 }, streamed);
      if (wild.finish !== 'length') assertCalls(wild, true);
    }
  });

  test(`strict functions${how}`, limits, async () => {
    const strict = tools.map((tool) => ({ ...tool, function: { ...tool.function, strict: true } }));
    for (let seed = 0; seed < 4; ++seed) {
      const answer = await ask({ temperature: 1.5, seed, tools: strict, max_tokens: 300 }, streamed);
      if (answer.finish === 'tool_calls') assertCalls({ ...answer, content: '' }, true);
    }
  });
}

test('several choices of one prompt', limits, async () => {
  const completion = await client.chat.completions.create({
    model: MODEL, messages: QUESTION, n: 4, temperature: 1, seed: 3, max_tokens: 600,
    structured_outputs: { regex: '[a-z]{3}-[a-z]{3}' },
  });
  const ended = completion.choices.filter(({ finish_reason }) => finish_reason === 'stop');
  assert.ok(ended.length > 0);
  for (const { message } of ended) assert.match(message.content, /^[a-z]{3}-[a-z]{3}$/);
  assert.ok(new Set(ended.map(({ message }) => message.content)).size > 1, 'each has a state of its own');
});

test('the Responses API: a format, a forced call', limits, async () => {
  const schema = { type: 'object', properties: { city: { enum: ['Paris', 'Rome'] } }, required: ['city'] };
  const request = { model: MODEL, input: 'What is the capital of France?', temperature: 0, max_output_tokens: 600 };
  const formatted = await client.responses.create({
    ...request, text: { format: { type: 'json_schema', name: 'city', schema } },
  });
  assertValid(schema, formatted.output_text);
  const called = await client.responses.create({
    ...request, tools: [{ type: 'function', name: 'tell', parameters: schema, strict: true }], tool_choice: 'required',
  });
  const [call] = called.output.filter(({ type }) => type === 'function_call');
  assert.equal(call.name, 'tell');
  assertValid(schema, call.arguments);
});

test("Anthropic's tool_choice and output_config", limits, async () => {
  const schema = { type: 'object', properties: { city: { enum: ['Paris', 'Rome'] } }, required: ['city'] };
  const request = { model: MODEL, max_tokens: 600, temperature: 0, messages: QUESTION };
  const called = await anthropic.messages.create({
    ...request, tools: [{ name: 'tell', input_schema: schema }], tool_choice: { type: 'tool', name: 'tell' },
  });
  const [use] = called.content.filter(({ type }) => type === 'tool_use');
  assert.equal(called.stop_reason, 'tool_use');
  assertValid(schema, JSON.stringify(use.input));
  const formatted = await anthropic.messages.create({ ...request, output_config: { format: { type: 'json_schema', schema } } });
  const [text] = formatted.content.filter(({ type }) => type === 'text');
  assertValid(schema, text.text);
});

test('what a schema asks for and cannot be had is named', limits, async () => {
  const schema = { type: 'object', properties: { age: { type: 'integer', multipleOf: 3 } } };
  const bad = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } };
  await assert.rejects(ask(bad, false), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, 'response_format.json_schema.schema/properties/age/multipleOf');
    return true;
  });
});

// Most of them as completions, which have no reasoning: the answer begins at once.
test(`${SCHEMAS} random schemas at temperature 1.5`, { timeout: 60_000 + SCHEMAS * 5_000 }, async (context) => {
  const random = makeRandom(SEED);
  const schemas = Array.from({ length: SCHEMAS }, () => randomSchema(random));
  let next = 0;
  let ended = 0;
  const work = async () => {
    while (next < schemas.length) {
      const index = next++;
      const schema = schemas[index];
      const sampling = { temperature: 1.5, seed: index };
      const streamed = index % 2 === 1;
      let answer;
      if (index % 5 === 0) {
        answer = await ask({
          ...sampling, response_format: { type: 'json_schema', json_schema: { name: 'random', schema } },
        }, streamed);
      } else {
        const { choices: [choice] } = await client.completions.create({
          ...sampling, model: MODEL, prompt: 'A JSON document:\n', max_tokens: 400, structured_outputs: { json: schema },
        });
        answer = { content: choice.text, finish: choice.finish_reason };
      }
      if (answer.finish !== 'stop') continue;
      ended += 1;
      assertValid(schema, answer.content);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT_MAX }, work));
  context.diagnostic(`${ended} of ${SCHEMAS} answers ended by themselves`);
  assert.ok(ended > SCHEMAS / 2, `${ended} of ${SCHEMAS} answers ended by themselves`);
});
