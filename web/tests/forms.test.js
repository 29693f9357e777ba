import assert from 'node:assert/strict'
import { test } from 'node:test'

import { smoothed } from '../src/charts/smoothing'
import { fitted, isOwn } from '../src/pages/new/fitting'
import { at, changed, fieldOf, pointerOf, tagOf } from '../src/pages/new/schema'
import { escaped } from '../src/parts/escaped'
import { placeOf } from '../src/words/fields'

const RIGHT_TO_LEFT = '\u202e'

test('smoothing without weight changes nothing, and gaps stay gaps', () => {
  assert.deepEqual(smoothed([1, null, 3], 0), [1, null, 3])
})

test('smoothing is an average that does not favour its beginning', () => {
  assert.deepEqual(smoothed([2, 2, 2], 0.9), [2, 2, 2])
  const [, second] = smoothed([1, 4], 0.5)
  assert.equal(second, (0.5 * 1 + 1 * 4) / 1.5)
})

test('a network that fits is not touched', () => {
  const spec = { network: { blocks: [{ filters: 8 }] } }
  assert.equal(fitted(spec, [28, 28, 1]).spec, spec)
})

test('a network for small images keeps their size, then leaves pools out', () => {
  const spec = { network: { blocks: [{ filters: 8 }, { filters: 8 }, { filters: 8 }, { filters: 8 }] } }
  const { spec: made, said } = fitted(spec, [8, 8, 1])
  assert.deepEqual(
    made.network.blocks.map(({ padding, pool = 2 }) => [padding, pool]),
    // 8 becomes 4, 2, 1; one pixel cannot be halved.
    [
      ['same', 2],
      ['same', 2],
      ['same', 2],
      ['same', 1],
    ],
  )
  assert.match(said, /block 4 has no pooling/)
  assert.equal(spec.network.blocks[3].pool, undefined)
})

test('strides shrink an image as pools do', () => {
  const residual = { filters: 8, residual: true, padding: 'same', strides: 2, pool: 1 }
  const spec = { network: { blocks: [residual, residual, residual, { filters: 8, padding: 'same' }] } }
  assert.equal(fitted(spec, [9, 9, 1]).spec, spec)
  assert.match(fitted(spec, [8, 8, 1]).said, /block 4 has no pooling/)
})

const ALL = {
  Adam: { properties: { name: { const: 'adam' }, learning_rate: { type: 'number', exclusiveMinimum: 0 } } },
  Sgd: { properties: { name: { const: 'sgd' } } },
}

test('a schema becomes the field that a form shows', () => {
  assert.equal(fieldOf({ type: 'boolean' }, ALL).kind, 'switch')
  assert.deepEqual(fieldOf({ anyOf: [{ type: 'integer', minimum: 1, maximum: 9 }, { type: 'null' }], default: 3 }, ALL), {
    description: '',
    default: 3,
    mayBeNull: true,
    kind: 'number',
    whole: true,
    least: 1,
    most: 9,
  })
  const optimizer = fieldOf({ oneOf: [{ $ref: '#/$defs/Adam' }, { $ref: '#/$defs/Sgd' }] }, ALL)
  assert.equal(optimizer.kind, 'variants')
  assert.deepEqual(
    optimizer.variants.map((variant) => tagOf(variant, ALL)),
    [
      ['name', 'adam'],
      ['name', 'sgd'],
    ],
  )
})

test('a change of a spec leaves the spec before as it was', () => {
  const spec = { training: { epochs: 3 }, blocks: [{ filters: 8 }] }
  const path = ['blocks', 0, 'filters']
  const after = changed(spec, path, 16)
  assert.equal(at(after, path), 16)
  assert.equal(at(spec, path), 8)
  assert.equal(pointerOf(path), '/blocks/0/filters')
  assert.deepEqual(changed({ name: 'a', seed: 1 }, ['seed'], undefined), { name: 'a' })
})

test('characters that turn text around are shown as escapes', () => {
  assert.equal(escaped(`report${RIGHT_TO_LEFT}gnp.exe`), 'report\\u202egnp.exe')
  assert.equal(escaped('two\nlines\tand é'), 'two\nlines\tand é')
})

test('a place of the form is called as the form calls it', () => {
  assert.match(placeOf('/network/blocks/0/filters'), /^Block 1: Filters/)
  assert.equal(placeOf('/network/blocks/1'), 'Block 2')
  assert.match(placeOf('/training/epochs'), /^Epochs/)
  assert.equal(placeOf(''), 'The job')
})

test('a network with a model is one of a user, and one with blocks is not', () => {
  assert.ok(isOwn({ model: '' }))
  assert.ok(!isOwn({ blocks: [] }))
  assert.ok(!isOwn({ blocks: [], backbone: { model: 'mod_1' } }))
  assert.ok(!isOwn(undefined))
})

test('a network without blocks is not fitted to small images', () => {
  const spec = { network: { model: 'mod_1' } }
  assert.deepEqual(fitted(spec, [8, 8, 1]), { spec, said: '' })
})
