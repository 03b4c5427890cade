// The tokenizer gives the ids that Hugging Face's gives, on a million characters of mixed scripts, and refuses what is
// not UTF-8.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Tokenizer } from '@huggingface/tokenizers';

const CHARACTERS_MIN = 1_000_000;
const model = process.env.BELLWETHER_DEMO_MODEL;
const read = (file) => JSON.parse(readFileSync(join(model, file)));

// First and last code points: ASCII (often), control characters, scripts with and without marks, emoji, flags. All of
// Unicode 14 or older: the Unicode tables of PCRE2 in Debian 12 and of Node differ in newer characters.
const RANGES = [
  [32, 126], [32, 126], [97, 122], [48, 57], [9, 13], [1, 31], [0xa0, 0x24f], [0x300, 0x36f], [0x370, 0x3ff],
  [0x400, 0x4ff], [0x590, 0x5ff], [0x600, 0x6ff], [0x900, 0x97f], [0xe00, 0xe7f], [0x2000, 0x206f], [0x3040, 0x30ff],
  [0x4e00, 0x9fa5], [0xac00, 0xd7a3], [0xff00, 0xffee], [0x1f1e6, 0x1f1ff], [0x1f300, 0x1f6c5], [0x1f90c, 0x1f9ff],
  [0x20000, 0x2a6dd],
];
const WORDS = ['Hello world', "don't", '  \n\n', '\r\n', '毕老师！', '<｜User｜>', '<think>', '</think>', '👨‍👩‍👧', '1234567', '   x'];

function corpus(seed) {
  let state = seed;
  const below = (n) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const piece = () => {
    if (below(12) === 0) return WORDS[below(WORDS.length)];
    const [first, last] = RANGES[below(RANGES.length)];
    return Array.from({ length: 1 + below(5) }, () => String.fromCodePoint(first + below(last - first + 1))).join('');
  };
  const texts = [];
  for (let characters = 0; characters < CHARACTERS_MIN; characters += [...texts.at(-1)].length) {
    texts.push(Array.from({ length: 1 + below(120) }, piece).join(''));
  }
  return texts;
}

function encode(input) {
  const run = spawnSync(process.env.ENCODE_LINES, [join(model, 'tokenizer.json')], { input, maxBuffer: 2 ** 28 });
  assert.equal(run.status, 0, String(run.stderr));
  return run.stdout.toString().split('\n').slice(0, -1).map((line) => line.trim());
}

test('ids are those of Hugging Face', () => {
  const theirs = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
  const texts = corpus(12345);
  const ours = encode(texts.map((text) => `${text}\0`).join(''));
  assert.equal(ours.length, texts.length);
  texts.forEach((text, i) => {
    assert.equal(ours[i], theirs.encode(text, { add_special_tokens: false }).ids.join(' '), JSON.stringify(text));
  });
});

test('what is not UTF-8 is refused', () => {
  const bad = [[0x61, 0xff], [0xc0, 0x80], [0xe4, 0xbd], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x80]];
  const input = Buffer.concat(bad.map((bytes) => Buffer.from([...bytes, 0])));
  assert.deepEqual(encode(input), bad.map(() => 'refused'));
});
