import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Problem } from '../src/api/client'
import { answerAll } from '../src/pages/job/answering'

const fileOf = (name, size = 1) => ({ name, size })

/** A service that refuses images whose names begin with "bad", and requests of more than `most` bytes. */
const serviceOf = (most) => async (files) => {
  if (files.reduce((sum, file) => sum + file.size, 0) > most) throw new Problem(413, 'body_too_large', 'Too large.')
  const place = files.findIndex((file) => file.name.startsWith('bad'))
  if (place >= 0) throw new Problem(422, 'unreadable_image', '', [{ pointer: `/images/${place}`, detail: 'It is broken.' }])
  return { predictions: files.map((file) => ({ answer: file.name })) }
}

async function answersOf(files, most = 1000) {
  const answers = new Map()
  await answerAll(files, serviceOf(most), (file, answered) => {
    assert.ok(!answers.has(file.name), 'each image is answered once')
    answers.set(file.name, answered.answer ?? answered.refused)
  })
  return Object.fromEntries(answers)
}

test('images that are refused do not keep the others from an answer', async () => {
  const files = ['a', 'bad 1', 'b', 'bad 2', 'c'].map((name) => fileOf(name))
  assert.deepEqual(await answersOf(files), { a: 'a', 'bad 1': 'It is broken.', b: 'b', 'bad 2': 'It is broken.', c: 'c' })
})

test('what is too large together is sent in smaller parts, and what is too large alone is refused', async () => {
  const files = [fileOf('a', 60), fileOf('huge', 101), fileOf('b', 60), fileOf('c', 30)]
  assert.deepEqual(await answersOf(files, 100), { a: 'a', huge: 'Too large.', b: 'b', c: 'c' })
})

test('a problem that is about no image ends it', async () => {
  const lost = async () => {
    throw new Problem(503, 'predictions_unavailable', 'No process answers.')
  }
  await assert.rejects(answerAll([fileOf('a')], lost, assert.fail), { code: 'predictions_unavailable' })
})
