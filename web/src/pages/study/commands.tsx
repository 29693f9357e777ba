/** How to train the winner or run the study again from elsewhere. */

import type { StudyReport } from '../../api/studies'
import { Code } from '../../parts/code'

export const CommandsCard = ({ report }: { report: StudyReport }) => (
  <details class="card">
    <summary>
      <h2>How to run it again</h2>
    </summary>
    {report.commands.map((command) => (
      <div key={command.what} class="stack">
        <h3>{command.what}</h3>
        <Code label={command.what} text={textOf(command)} />
      </div>
    ))}
  </details>
)

function textOf({ file, body, cli, curl }: StudyReport['commands'][number]): string {
  const written = file && body ? `cat > ${file} <<'END'\n${JSON.stringify(body, null, 2)}\nEND\n\n` : ''
  return written + (cli ? `${cli}\n\n# or\n${curl}` : curl)
}
