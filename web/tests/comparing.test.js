import assert from 'node:assert/strict'
import { test } from 'node:test'

import { answerOf } from '../src/pages/compare/answer'
import { cautions } from '../src/pages/compare/comparable'
import { specDifferences } from '../src/pages/compare/differences'
import { bandsOf, groupsOf } from '../src/pages/compare/groups'
import { rowOf } from '../src/pages/compare/rows'

const IMAGES = 1000

/** A job that ended, with its epochs' validation losses and the accuracy of its kept weights. */
function trial({
  id,
  name = id,
  seed = 1,
  accuracy = 0.9,
  losses = [1, 0.5, 0.7],
  dataset = 'ds_1',
  status = 'succeeded',
  spec,
}) {
  const epochs = losses.map((loss, place) => ({
    epoch: place + 1,
    train_loss: loss / 2,
    train_accuracy: 0.95,
    validation_loss: loss,
    validation_accuracy: accuracy,
  }))
  const measured = (value) => ({ accuracy: value, loss: 1 - value, count: IMAGES, interval: [value - 0.02, value + 0.02] })
  return {
    job: {
      id,
      name,
      status,
      dataset: { id: dataset, name: dataset, version: 1 },
      spec: { name, training: { epochs: losses.length, seed }, network: { blocks: [{ filters: 8 }] }, ...spec },
    },
    metrics: {
      epochs,
      final: { epoch: 2, train: measured(0.99), validation: measured(accuracy), test: measured(accuracy - 0.01) },
    },
  }
}

test('jobs whose specs differ in the seed alone are one group, named by what their names share', () => {
  const trials = [trial({ id: 'a', name: 'base seed 1' }), trial({ id: 'b', name: 'base seed 2', seed: 2 })]
  const [group, ...others] = groupsOf(trials, true)
  assert.equal(others.length, 0)
  assert.deepEqual([group.letter, group.name, group.trials.length], ['A', 'base', 2])
  assert.equal(groupsOf(trials, false).length, 2)
})

test('letters go on after Z', () => {
  const many = Array.from({ length: 28 }, (_, place) => trial({ id: `job_${place}`, name: `${place}`, seed: place }))
  assert.deepEqual(
    groupsOf(many, false)
      .slice(25)
      .map((group) => group.letter),
    ['Z', 'AA', 'AB'],
  )
})

test('a band has the mean and the extremes of its jobs, and none where a longer job has a gap', () => {
  const long = trial({ id: 'a', losses: [1, 2, 3] })
  const thinned = trial({ id: 'b', seed: 2, losses: [3, 4, 5] })
  thinned.metrics.epochs.splice(1, 1)
  thinned.job.spec.training.epochs = long.job.spec.training.epochs
  const [group] = groupsOf([long, thinned], true)
  const [first, second, third] = bandsOf(group, [1, 2, 3], (epoch) => epoch.validation_loss)
  assert.deepEqual(first, { mean: 2, low: 1, high: 3, count: 2 })
  assert.equal(second, undefined)
  assert.deepEqual(third, { mean: 4, low: 3, high: 5, count: 2 })
})

test('a difference larger than chance helps, and a smaller one may be chance', () => {
  // The interval of two independent shares: 1.96 * sqrt(p * (1 - p) * (1/1000 + 1/1000)), about 2.6 points at 90%.
  const answer = (accuracy) =>
    answerOf(groupsOf([trial({ id: 'base' }), trial({ id: 'cure', name: 'base + dropout', accuracy })], false))
  assert.equal(answer(0.95).word, 'helped')
  assert.match(
    answer(0.95).text,
    /5\.0 points higher with dropout: 95\.0% against 90\.0% \(1 run each: chance alone can make a difference of ±2\.3\)/,
  )
  assert.equal(answer(0.91).word, 'may be chance')
  assert.equal(answer(0.91).asksForStudy, true)
  assert.equal(answer(0.8).word, 'made it worse')
})

test('jobs of different datasets are not judged, and the page says why', () => {
  const groups = groupsOf([trial({ id: 'a' }), trial({ id: 'b', dataset: 'ds_2' })], false)
  assert.equal(answerOf(groups).word, 'cannot tell')
  assert.match(cautions(groups)[0], /different datasets \(ds_1@1 and ds_2@1\)/)
})

test('differences name the fields, and a block that one spec lacks is one row', () => {
  const more = { network: { blocks: [{ filters: 8 }, { filters: 16, dropout: 0.5 }] } }
  const groups = groupsOf([trial({ id: 'a' }), trial({ id: 'b', seed: 7, losses: [1, 1], spec: { ...more } })], false)
  assert.deepEqual(specDifferences(groups), [
    { path: 'training.epochs', values: [3, 2] },
    { path: 'network.blocks[1]', values: [undefined, 'filters 16, dropout 0.5'] },
  ])
})

test('a row has the kept weights, or those of the best epoch while a job still runs', () => {
  const ended = groupsOf([trial({ id: 'a', accuracy: 0.8 })], false)[0]
  const kept = rowOf(ended, 'accuracy', null)
  assert.equal(kept.isKept, true)
  assert.deepEqual(kept.epochs, [2])
  assert.ok(Math.abs(kept.gap.mean - (0.99 - 0.79)) < 1e-12)
  assert.equal(kept.gapTo, 'test')

  const running = trial({ id: 'b', status: 'running' })
  running.metrics.final = null
  const soFar = rowOf(groupsOf([running], false)[0], 'loss', null)
  assert.equal(soFar.isKept, false)
  assert.equal(soFar.splits.validation.mean, 0.5) // the lowest of 1, 0.5 and 0.7
  assert.equal(soFar.gapTo, 'validation')
})
