import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ago, bytes, count, duration, figure, percent, points } from '../src/words/format'

test('percentages have one digit and no space before the sign', () => {
  assert.equal(percent(0.909), '90.9%')
  assert.equal(percent(0.5, 0), '50%')
  assert.equal(percent(null), '–')
})

test('exact halves go to the even digit, as in the sentences of the service', () => {
  assert.equal(percent(0.90625, 2), '90.62%')
  assert.equal(percent(0.000625, 2), '0.06%')
  assert.equal(percent(0.009375, 2), '0.94%')
  assert.equal(points(-0.000625, 2), '−0.06')
})

test('differences carry their sign, and a difference that rounds to nothing has none', () => {
  assert.equal(points(0.0123), '+1.2')
  assert.equal(points(-0.0123), '−1.2')
  assert.equal(points(-0.0001), '0.0')
})

test('losses have four significant digits', () => {
  assert.equal(figure(0.123456), '0.1235')
  assert.equal(figure(-12.3456, 3), '−12.3')
  assert.equal(count(1234567), '1,234,567')
})

test('times are given in their two largest units', () => {
  assert.equal(duration(0.4), 'under 1 s')
  assert.equal(duration(59.6), '1 min')
  assert.equal(duration(540), '9 min')
  assert.equal(duration(4320), '1 h 12 min')
  assert.equal(duration(3605), '1 h')
  assert.equal(duration(90061), '1 d 1 h')
})

test('what happened a moment ago happened just now', () => {
  const now = Date.parse('2026-01-01T12:00:00Z')
  assert.equal(ago('2026-01-01T11:59:55Z', now), 'just now')
  assert.equal(ago('2026-01-01T11:55:00Z', now), '5 min ago')
})

test('sizes are given in units of a thousand', () => {
  assert.equal(bytes(999), '999 bytes')
  assert.equal(bytes(1234567), '1.23 MB')
})
