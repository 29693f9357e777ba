/** What the service advises, in words of the dashboard: its texts name routes and options, which a page has buttons for. */

import { withFieldWords } from './fields'

/** What a text may name, and what stands for it on a page. Texts are those of `heldout/errors` and of the check of uploads. */
const WORDS: [RegExp, string][] = [
  [/ ?List them with GET \S+/g, ''],
  [/POST \S+\/retry (\w+)/g, '"Run again" $1'],
  [/ ?To train from scratch for [\w,]+ epochs, retry with \{.*\}\./g, ' Run the job again instead.'],
  [/POST \/v1\/datasets (\w+)/g, 'another upload $1'],
  [/POST \/v1\/evaluations (\w+)/g, '"Evaluate" on the page of the model $1'],
  [/POST \/v1\/studies (\w+)/g, '"Measure what helps" on the page of its job $1'],
  [/DELETE \/v1\/studies\/\S+ deletes the study/g, 'the study can be deleted'],
  [/POST \S+\?format=\w+ exports it(?: again)?\b/g, 'it can be exported again'],
  [/POST \S+\?format=\w+ writes it again/g, 'it can be made again on the page of its job'],
  [/wait for it with GET \S+\?wait=60/g, 'its page shows when it is ready'],
  [/GET \/v1\/models\/\S+ says/g, 'its page says'],
  [/GET \S+\/diagnosis says/g, 'the verdict on the page of the job says'],
  [/GET \S+\?again=true searches/g, '"Search again" searches'],
  [/\. Send it with PUT \S+/g, '. Upload it again.'],
  [/; `heldout check --deep` lists[^.]*/g, ''],
  [/ ?The same command restores [^.]*\./g, ''],
  [/GET the job again/g, 'load the page again'],
  // Settings of an upload, which the form has under names of its own.
  [/Name one size for all.*`stretch`/g, 'Choose one size for all under "More settings" when you upload'],
  [/ with `resize`/g, ' under "More settings" when you upload'],
  [/Or go on without: `skip_broken` \(`--skip-broken`\)/g, 'Or choose "Skip files that cannot be read" when you upload'],
  [/Say what each folder is, such as .*, rename it, or remove it/g, 'Rename the folder, or remove it'],
  [/, leave them out: `"splits".*=ignore`/g, ', leave them out'],
  [/(?: with|:) `splits[^`]*`/g, ''],
]
/** What only a terminal or a program can use. */
const TERMINAL_SYNTAX = /`[^`]*--[a-z][^`]*`|\/v1\/|\bcurl\b|`heldout |\b(?:GET|POST|PUT|PATCH|DELETE) \/|`splits|`skip_broken/
const ASIDE = / \(`[^()]*\)/g

/** The text without what a reader of a page cannot use. A sentence that still has some of it is left out. */
export function adviseHere(given: string): string {
  const text = withFieldWords(given)
  const said = WORDS.reduce((all, [form, words]) => all.replace(form, words), text)
  if (said === text && !TERMINAL_SYNTAX.test(text)) return text
  const sentences = said.replace(ASIDE, (aside) => (TERMINAL_SYNTAX.test(aside) ? '' : aside)).split(/(?<=[.!?]["']?) +/)
  return sentences
    .filter((sentence) => !TERMINAL_SYNTAX.test(sentence))
    .map((sentence) => sentence.replace(/^(?:it|its|the|another|load)\b/, (word) => word.charAt(0).toUpperCase() + word.slice(1)))
    .join(' ')
    .trim()
}

const TEXTS = new Set(['detail', 'explanation', 'what_to_do', 'reason', 'message', 'remedy', 'summary', 'text'])

/** Reads the JSON of an answer; its sentences for people become those of a page. */
export const parseAnswer = (text: string) =>
  JSON.parse(text, (key, value) => (typeof value === 'string' && TEXTS.has(key) ? adviseHere(value) : value))
