// The official OpenAI client's responses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
  bothWays, DODGERS, DODGERS_ANSWER, limits, MODEL, SCALE, SCALE_ANSWER, SCALE_ARGUMENTS, SCALE_TOOL,
} from './both_ways.mjs';
import { client } from './openai_client.mjs';

const TOOLS = [{ type: 'function', strict: false, ...SCALE_TOOL }];

// The whole response; of a stream, what it ends with, which must be what its pieces come to.
async function respond(params, stream) {
  const request = { model: MODEL, temperature: 0, ...params };
  if (!stream) return client.responses.create(request);
  const items = [];
  let last;
  let number = 0;
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    assert.equal(event.sequence_number, number++);
    const item = items[event.output_index];
    switch (event.type) {
      case 'response.output_item.added': items[event.output_index] = { ...event.item, written: '' }; break;
      case 'response.output_text.delta':
      case 'response.reasoning_text.delta':
      case 'response.function_call_arguments.delta': item.written += event.delta; break;
      case 'response.output_text.done':
      case 'response.reasoning_text.done': assert.equal(item.written, event.text); break;
      case 'response.function_call_arguments.done': assert.equal(item.written, event.arguments); break;
      default:
    }
    last = event;
  }
  assert.ok(['response.completed', 'response.incomplete'].includes(last.type), last.type);
  assert.deepEqual(last.response.output.map(({ id, type }) => ({ id, type })), items.map(({ id, type }) => ({ id, type })));
  return last.response;
}

const text = ({ output }) => output.find((item) => item.type === 'message')?.content[0]?.text;
const reasoning = ({ output }) => output.find((item) => item.type === 'reasoning')?.content[0]?.text;

bothWays('a response', async (stream) => {
  const response = await respond({ instructions: DODGERS.system, input: DODGERS.user }, stream);
  assert.equal(response.object, 'response');
  assert.equal(response.status, 'completed');
  assert.equal(response.instructions, DODGERS.system);
  assert.equal(text(response), DODGERS_ANSWER);
  assert.match(reasoning(response), /^The user asks which team won/);
  assert.equal(response.usage.input_tokens, 23);
  assert.equal(response.usage.output_tokens, 73);
  assert.ok(response.usage.output_tokens_details.reasoning_tokens > 10);
});

test("output_text, whole and put together by the client's own stream", limits, async () => {
  const request = { model: MODEL, temperature: 0, instructions: DODGERS.system, input: DODGERS.user };
  assert.equal((await client.responses.create(request)).output_text, DODGERS_ANSWER);
  const runner = client.responses.stream(request);
  let snapshot = '';
  runner.on('response.output_text.delta', (event) => { snapshot = event.snapshot; });
  const final = await runner.finalResponse();
  assert.equal(snapshot, DODGERS_ANSWER);
  assert.equal(text(final), DODGERS_ANSWER);
});

bothWays('a conversation as items', async (stream) => {
  const input = [
    { role: 'developer', content: [{ type: 'input_text', text: DODGERS.system }] },
    { role: 'user', content: [{ type: 'input_text', text: DODGERS.user }] },
  ];
  assert.equal(text(await respond({ input }, stream)), DODGERS_ANSWER);
});

bothWays('max_output_tokens leaves it incomplete', async (stream) => {
  const response = await respond({ input: DODGERS.user, max_output_tokens: 5 }, stream);
  assert.equal(response.status, 'incomplete');
  assert.equal(response.incomplete_details.reason, 'max_output_tokens');
  assert.equal(response.usage.output_tokens, 5);
});

bothWays('a function is called, and its result answered', async (stream) => {
  const input = [{ role: 'user', content: SCALE }];
  const response = await respond({ input, tools: TOOLS }, stream);
  const call = response.output.find((item) => item.type === 'function_call');
  assert.equal(call.name, SCALE_TOOL.name);
  assert.deepEqual(JSON.parse(call.arguments), SCALE_ARGUMENTS);
  input.push(...response.output, { type: 'function_call_output', call_id: call.call_id, output: '{"ok": true}' });
  assert.equal(text(await respond({ input, tools: TOOLS }, stream)), SCALE_ANSWER);
});

bothWays('log-probabilities', async (stream) => {
  const response = await respond({
    instructions: DODGERS.system,
    input: DODGERS.user,
    include: ['message.output_text.logprobs'],
    top_logprobs: 2,
  }, stream);
  const { logprobs } = response.output.find((item) => item.type === 'message').content[0];
  assert.equal(logprobs.map((entry) => entry.token).join('').trimStart(), DODGERS_ANSWER);
  assert.ok(logprobs.every((entry) => entry.top_logprobs.length === 2));
});

bothWays('what is refused', async (stream) => {
  for (const [param, value] of [['previous_response_id', 'resp_1'], ['background', true], ['max_output_tokens', 0]]) {
    await assert.rejects(client.responses.create({ model: MODEL, input: 'Hi', stream, [param]: value }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
      assert.equal(error.param, param);
      return true;
    });
  }
  await assert.rejects(client.responses.create({ model: 'no-such-model', input: 'Hi', stream }), OpenAI.NotFoundError);
});
