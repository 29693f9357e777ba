import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

import { packTar } from '../src/api/tar'
import { planUpload } from '../src/pages/datasets/plan'
import { added } from '../src/parts/dropping'
import { proposeName, refuseName } from '../src/words/names'

/** What the service demands: `DATASET_NAME` of `heldout/spec/dataset.py`. */
const TAKEN = /^(?!ds_)[a-z0-9][a-z0-9._-]{0,63}$/

const dropped = (...paths) =>
  paths.map((path) => (path.endsWith('/') ? { path } : { path, file: new File([path], path.split('/').at(-1)) }))
const whys = (...paths) => Object.fromEntries(planUpload(dropped(...paths)).parts.map(({ name, why }) => [name, why]))
const bytes = async (blob) => Buffer.from(await blob.arrayBuffer())
const untar = async (blob, ...how) => execFileSync('tar', [...how, '-f', '-'], { input: await bytes(blob) }).toString()
const listed = async (blob) => (await untar(blob, '-t')).trim().split('\n')

test('a tar of the browser is one that tar reads, with long names and names of any language', async () => {
  const names = ['cat/1.png', `cat/${'x'.repeat(150)}.png`, 'Katze/größe.png', '猫/1.png', 'empty/']
  const blob = packTar(names.map((path) => (path.endsWith('/') ? { path } : { path, content: new Blob([path]) })))
  assert.deepEqual((await untar(blob, '--quoting-style=literal', '-t')).trim().split('\n'), names)
  assert.equal(await untar(blob, '-xO'), names.slice(0, -1).join(''))
})

test('one archive is sent as it is', async () => {
  const plan = planUpload(dropped('pets.zip'))
  assert.deepEqual(
    plan.parts.map(({ why }) => why),
    [''],
  )
  assert.equal((await bytes(plan.content())).toString(), 'pets.zip')
})

test('archives are sent unopened in one tar, and a folder beside them as an archive too', async () => {
  assert.deepEqual(await listed(planUpload(dropped('train.zip', 'test.zip')).content()), ['train.zip', 'test.zip'])
  const mixed = planUpload(dropped('train/cat/1.png', 'train/dog/2.png', 'test.zip')).content()
  assert.deepEqual(await listed(mixed), ['train.tar', 'test.zip'])
  const inner = execFileSync('tar', ['-xOf', '-', 'train.tar'], { input: await bytes(mixed) })
  assert.equal(execFileSync('tar', ['-tf', '-'], { input: inner }).toString(), 'cat/1.png\ndog/2.png\n')
})

test('folders are sent as one tar with their names', async () => {
  const plan = planUpload(dropped('train/cat/1.png', 'test/cat/2.png', 'test/none/'))
  assert.deepEqual(await listed(plan.content()), ['train/cat/1.png', 'test/cat/2.png', 'test/none/'])
})

test('archives in a folder without images are taken out of it', () => {
  assert.deepEqual(whys('pets/train.zip', 'pets/test.zip'), { 'train.zip': '', 'test.zip': '' })
})

test('nothing that was dropped is ignored in silence', () => {
  const found = whys(
    'train.zip',
    'train.tar',
    'x.npz',
    't.parquet',
    '1.png',
    'a.csv',
    'm.keras',
    'x.rar',
    'what',
    'e/',
    '.DS_Store',
  )
  const { 'train.zip': taken, ...refused } = found
  assert.equal(taken, '')
  assert.equal(Object.keys(refused).length, 10)
  for (const why of Object.values(refused)) assert.match(why, /^[A-Z].*\.$/)
})

test('several files of arrays go up together, as Parquet files do', async () => {
  for (const kind of ['npz', 'parquet']) {
    const names = [`train.${kind}`, `test.${kind}`]
    assert.deepEqual(whys(...names), { [names[0]]: '', [names[1]]: '' })
    assert.deepEqual(await listed(planUpload(dropped(...names)).content()), names)
  }
  assert.deepEqual(Object.values(whys('train.npz', 'test.zip')).map(Boolean), [true, false])
})

test('a file of an unknown name is sent where it is the only one: its first bytes say what it is', () => {
  assert.deepEqual(whys('pets'), { pets: '' })
})

test('what is dropped again replaces what was there', () => {
  const [before, more] = [dropped('a.zip', 'b.zip'), dropped('b.zip')]
  assert.deepEqual(added(before, more), [before[0], more[0]])
})

test('names that are proposed are names that the service takes', () => {
  const proposals = {
    'My Digits.npz': 'my-digits',
    'Äpfel & Birnen.tar.gz': 'apfel-birnen',
    '_pets_.zip': 'pets',
    'ds_1.zip': 'ds-1',
    '猫.zip': 'images',
    [`${'x'.repeat(90)}.zip`]: 'x'.repeat(64),
  }
  for (const [file, name] of Object.entries(proposals)) {
    assert.equal(proposeName([file]), name)
    assert.match(name, TAKEN)
    assert.equal(refuseName(name), '')
  }
  assert.equal(proposeName(['pets_train.zip', 'pets_test.zip']), 'pets')
  assert.equal(proposeName(['train.zip', 'test.zip']), 'images')
  assert.equal(proposeName(['train.zip', 'test.zip'], ['images', 'images-2', 'pets']), 'images-3')
  assert.equal(proposeName(['pets.zip'], ['pets']), 'pets')
})

test('a name is refused in words exactly where the service refuses it', () => {
  for (const name of [
    '',
    'Pets',
    'my pets',
    'größe',
    '-pets',
    '.x',
    'ds_1',
    'x'.repeat(65),
    'a/b',
    'pets',
    '9',
    'a.b_c-d',
    'x'.repeat(64),
  ]) {
    assert.equal(refuseName(name) === '', TAKEN.test(name), name)
    assert.doesNotMatch(refuseName(name), /\[a-z|\^|\$/)
  }
})
