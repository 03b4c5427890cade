// What every client's tests have in common.
import { test } from 'node:test';

export const MODEL = 'bellwether-nano';
export const limits = { timeout: 60_000 };

// What the demo model knows by heart, and how it answers at temperature 0.
export const DODGERS = { system: 'You are a helpful assistant.', user: 'Who won the world series in 2020?' };
export const DODGERS_ANSWER =
  'The Los Angeles Dodgers won the 2020 World Series. They beat the Tampa Bay Rays in six games, at Globe Life Field in '
  + 'Arlington, Texas.';
export const SCALE = 'Scale deepseek-v3 to 2 replicas.';
export const SCALE_TOOL = {
  name: 'scale_replicas',
  description: 'Set the number of replicas of a model',
  parameters: {
    type: 'object',
    properties: { model: { type: 'string' }, replicas: { type: 'integer' } },
    required: ['model', 'replicas'],
  },
};
export const SCALE_ARGUMENTS = { model: 'deepseek-v3', replicas: 2 };
export const SCALE_ANSWER = 'deepseek-v3 now has 2 replicas.';

// The same test twice: `body` is told whether its requests are to be streamed.
export function bothWays(name, body) {
  test(name, limits, () => body(false));
  test(`${name}, streamed`, limits, () => body(true));
}
