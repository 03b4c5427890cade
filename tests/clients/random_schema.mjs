// Random JSON schemas of the subset that the grammars take, each of which some value satisfies.

// A generator of numbers from 0 to 1 that a seed repeats (mulberry32).
export function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = ['name', 'age', 'tags', 'city', 'id', 'é', 'a b', '"', 'next', 'value'];
const PATTERNS = ['^[a-z]{2,6}$', '^\\d{3}-\\d{4}$', '^(ja|nein)$', '^[A-Z][a-z]+( [A-Z][a-z]+)?$', 'x'];
const FORMATS = ['date', 'time', 'date-time', 'uuid', 'email', 'ipv4', 'ipv6', 'duration', 'hostname'];
const CONSTANTS = ['red', '', 'Grüße', 0, -7, 2.5, true, false, null, [1, 'a'], { a: 1 }];

export function randomSchema(random) {
  const whole = (min, max) => min + Math.floor(random() * (max - min + 1));
  const one = (list) => list[whole(0, list.length - 1)];
  const maybe = (chance) => random() < chance;
  const some = (list, count) => {
    const left = [...list];
    return Array.from({ length: count }, () => left.splice(whole(0, left.length - 1), 1)[0]);
  };
  let recursive = false;

  const text = () => {
    const kind = whole(0, 3);
    if (kind === 0) return { type: 'string', pattern: one(PATTERNS), maxLength: 20 };
    if (kind === 1) return { type: 'string', format: one(FORMATS) };
    const minLength = whole(0, 4);
    return { type: 'string', minLength, maxLength: minLength + whole(0, 12) };
  };
  const integer = () => {
    const schema = { type: 'integer' };
    const from = whole(-2000, 2000);
    if (maybe(0.6)) schema[one(['minimum', 'exclusiveMinimum'])] = from;
    if (maybe(0.6)) schema[one(['maximum', 'exclusiveMaximum'])] = from + whole(2, 5000);
    return schema;
  };
  const number = () => {
    const schema = { type: 'number' };
    const from = whole(-500, 500) / 8;
    if (maybe(0.6)) schema[one(['minimum', 'exclusiveMinimum'])] = from;
    if (maybe(0.6)) schema[one(['maximum', 'exclusiveMaximum'])] = from + whole(1, 500) / 4;
    return schema;
  };
  const array = (depth) => {
    const prefixItems = Array.from({ length: whole(0, 2) }, () => any(depth - 1));
    const minItems = whole(0, 2) + prefixItems.length;
    const items = any(depth - 1);
    return prefixItems.length > 0
      ? { type: 'array', prefixItems, items, minItems, maxItems: minItems + whole(0, 2) }
      : { type: 'array', items, minItems, maxItems: minItems + whole(0, 3) };
  };
  const object = (depth) => {
    const names = some(NAMES, whole(0, 4));
    const schema = { type: 'object', properties: {}, required: names.filter(() => maybe(0.6)) };
    for (const name of names) schema.properties[name] = any(depth - 1);
    if (maybe(0.3)) schema.additionalProperties = maybe(0.5) ? false : one([text(), integer()]);
    return schema;
  };
  const merged = (depth) => ({
    allOf: [
      { type: 'object', properties: { a: any(depth - 1) }, required: ['a'] },
      { type: 'object', properties: { b: any(depth - 1) } },
    ],
  });
  const simple = () => one([text, text, integer, number, () => ({ type: one(['boolean', 'null']) }),
    () => ({ type: some(['integer', 'boolean', 'null'], 2) }), () => ({ const: one(CONSTANTS) }),
    () => ({ enum: some(CONSTANTS, whole(1, 4)) })])();
  function any(depth) {
    if (depth <= 0 || maybe(0.4)) return simple();
    const kind = whole(0, 9);
    if (kind < 3) return array(depth);
    if (kind < 6) return object(depth);
    if (kind === 6) return merged(depth);
    if (kind === 7) {
      recursive = true;
      return { $ref: '#/$defs/tree' };
    }
    return { [maybe(0.7) ? 'anyOf' : 'oneOf']: [integer(), text(), array(depth - 1)].slice(0, whole(2, 3)) };
  }

  const schema = one([array, object, object, merged])(3);
  if (recursive) {
    schema.$defs = {
      tree: {
        type: 'object',
        properties: { value: simple(), children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 } },
        required: ['value'],
        additionalProperties: false,
      },
    };
  }
  return schema;
}
