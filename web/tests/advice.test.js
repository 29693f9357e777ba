import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

import { adviseHere, parseAnswer } from '../src/words/advice'

/** Where the texts are made that pages show. */
const ROOMS = [
  'heldout/errors',
  'heldout/diagnosis',
  'heldout/words',
  'models/store/datasets.py',
  'models/store/uploads.py',
  'models/digests.py',
  'worker/ingest',
]
const FOR_TERMINALS = /--[a-z]|\/v1\/|\bcurl\b|`heldout |\b(GET|POST|PUT|PATCH|DELETE) \/|existing: merge/
const LITERAL = /f?"((?:[^"\\\n]|\\.)*)"|f?'((?:[^'\\\n]|\\.)*)'/g

const filesOf = (place) =>
  place.endsWith('.py')
    ? [place]
    : readdirSync(`../${place}`, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? filesOf(`${place}/${entry.name}`) : entry.name.endsWith('.py') ? [`${place}/${entry.name}`] : [],
      )

/** The texts of a Python file, as adjacent literals make them, with `x` for what is filled in. */
function textsOf(path) {
  const source = readFileSync(`../${path}`, 'utf-8')
    .replace(/"""[\s\S]*?"""/g, '')
    .replace(/^\s*#.*$| {2}# .*$/gm, '')
  const texts = []
  let end = -1
  for (const found of source.matchAll(LITERAL)) {
    const text = (found[1] ?? found[2])
      .replace(/\{(path|get_model_route\(.*?\))\}/g, '/v1/x')
      .replace(/\{[^{}]*\}/g, 'x')
      .replace(/\\(.)/g, '$1')
    if (end >= 0 && !source.slice(end, found.index).trim()) texts.push(texts.pop() + text)
    else texts.push(text)
    end = found.index + found[0].length
  }
  return texts.filter((text) => /^[^-].* /.test(text))
}

test('no text of the service says on a page what only a terminal or a program can use', () => {
  const texts = ROOMS.flatMap(filesOf).flatMap((path) => textsOf(path).map((text) => [path, text]))
  const meant = texts.filter(([, text]) => FOR_TERMINALS.test(text))
  assert.ok(meant.length > 20, 'the texts are no longer found')
  for (const [path, text] of meant) assert.doesNotMatch(adviseHere(text), FOR_TERMINALS, path)
})

test('what a page cannot use is said as a page says it', () => {
  const said = {
    "No job of this key's owner has the id 'x'. List them with GET /v1/jobs.": "No job of this key's owner has the id 'x'.",
    'Job x is failed; that is final. POST /v1/jobs/x/retry makes a new one.':
      'Job x is failed; that is final. "Run again" makes a new one.',
    'Have the splits cut anew with `splits: {existing: merge}` (`--merge`) if that helps.':
      'Have the splits cut anew if that helps.',
    'Use `padding: same`, or fewer blocks.': 'Use "Padding at the image edge: same", or fewer blocks.',
    'Leave some out, or send `extent: full`.': 'Leave some out, or send "a full comparison".',
    'The images stay together by a group rule (`group_by`).':
      'The images stay together by a group rule ("Images that belong together").',
    '`resources.device` is not `fit`.': '"Machine: device" is not `fit`.',
  }
  for (const [text, words] of Object.entries(said)) assert.equal(adviseHere(text), words)
})

test('only sentences for people are changed, wherever they are in an answer', () => {
  const answer = {
    a: [{ detail: 'Gone. List them with GET /v1/jobs.', thumbnail: '/v1/datasets/x/preview/1', name: 'GET /v1/x' }],
  }
  assert.deepEqual(parseAnswer(JSON.stringify(answer)), { a: [{ ...answer.a[0], detail: 'Gone.' }] })
})
