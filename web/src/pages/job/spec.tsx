/** The exact spec, and code that runs it from elsewhere. */

import type { Job } from '../../api/jobs'
import { Code } from '../../parts/code'
import { inQuery, setQuery } from '../../parts/router'
import { Segments } from '../../parts/segments'

const WAYS = { spec: 'Spec', cli: 'Command line', curl: 'HTTP', python: 'Python' } as const
type Way = keyof typeof WAYS
const WAY_NAMES = Object.keys(WAYS) as Way[]

export function SpecCard({ job }: { job: Job }) {
  const asked = inQuery('spec')
  const way = WAY_NAMES.find((name) => name === asked) ?? 'spec'
  return (
    <details
      class="card"
      open={asked !== ''}
      onToggle={(event) => event.currentTarget.open !== (asked !== '') && setQuery({ spec: event.currentTarget.open ? way : '' })}
    >
      <summary>
        <h2>Spec, and code that runs it</h2>
      </summary>
      <p class="soft">
        Above, "Clone and edit" opens this spec in a form. The code is for your own scripts, and for other computers.
      </p>
      <Segments
        label="Form"
        choices={WAY_NAMES.map((choice) => [choice, WAYS[choice]])}
        chosen={way}
        onChoose={(choice) => setQuery({ spec: choice })}
      />
      <Code text={textOf(way, job.spec)} label={WAYS[way]} />
    </details>
  )
}

function textOf(way: Way, spec: Job['spec']): string {
  const json = JSON.stringify(spec, null, 2)
  if (way === 'spec') return json
  const file = `cat > spec.json <<'END'\n${json}\nEND\n`
  if (way === 'cli') return `${file}heldout train spec.json`
  if (way === 'curl') {
    return `${file}curl ${location.origin}/v1/jobs \\
  -H "Authorization: Bearer $HELDOUT_API_KEY" \\
  -H "Content-Type: application/json" \\
  --data @spec.json`
  }
  return `import os
from heldout import Client

spec = ${asPython(spec)}
with Client(${JSON.stringify(location.origin)}, os.environ["HELDOUT_API_KEY"]) as client:
    job = client.train(spec)
    for epoch in job.follow():
        print(epoch.epoch, epoch.validation_accuracy)
    print(job.diagnosis())`
}

/** A value as Python writes it. */
function asPython(value: unknown, indent = ''): string {
  if (value === null || value === undefined) return 'None'
  if (value === true) return 'True'
  if (value === false) return 'False'
  const deeper = `${indent}    `
  if (Array.isArray(value)) {
    if (!value.length) return '[]'
    return `[\n${value.map((item) => `${deeper}${asPython(item, deeper)},`).join('\n')}\n${indent}]`
  }
  if (typeof value === 'object') {
    const fields = Object.entries(value)
    if (!fields.length) return '{}'
    const lines = fields.map(([name, field]) => `${deeper}${JSON.stringify(name)}: ${asPython(field, deeper)},`)
    return `{\n${lines.join('\n')}\n${indent}}`
  }
  return JSON.stringify(value)
}
