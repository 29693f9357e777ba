/** How to train the winner or run the study again from elsewhere. */

import type { StudyReport } from '../../api/studies'
import { Code } from '../../parts/code'

export const CommandsCard = ({ report }: { report: StudyReport }) => (
  <details class="card">
    <summary>
      <h2>How to run it again</h2>
    </summary>
    {report.commands.map((one) => (
      <div key={one.what} class="stack">
        <h3>{one.what}</h3>
        <Code label={one.what} text={textOf(one)} />
      </div>
    ))}
  </details>
)

function textOf({ file, body, cli, curl }: StudyReport['commands'][number]): string {
  const written = file && body ? `cat > ${file} <<'END'\n${JSON.stringify(body, null, 2)}\nEND\n\n` : ''
  return written + (cli ? `${cli}\n\n# or\n${curl}` : curl)
}
