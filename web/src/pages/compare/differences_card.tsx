/** The fields in which the jobs differ. */

import { Scroll } from '../../parts/scroll'
import { pathWord, valueWord } from '../../words/fields'
import { type Difference, runDifferences, specDifferences } from './differences'
import type { Group } from './groups'
import { Key } from './key'

export function DifferencesCard({ groups }: { groups: Group[] }) {
  const ofSpec = specDifferences(groups)
  const ofRun = runDifferences(groups)
  if (groups.length < 2) {
    const seeds = groups[0]?.trials.length ?? 0
    return (
      <section class="card" aria-label="Differences">
        <h2>How they differ</h2>
        <p class="soft">{seeds > 1 ? 'Only in the seed.' : 'Add a second job to see how their specs differ.'}</p>
      </section>
    )
  }
  return (
    <section class="card" aria-label="Differences">
      <h2>How they differ</h2>
      {ofSpec.length ? (
        <Scroll label="Settings that differ">
          <table class="plain-table differences">
            <thead>
              <tr>
                <th scope="col">Setting</th>
                {groups.map((group) => (
                  <th key={group.letter} scope="col">
                    <Key group={group} /> {group.letter} <span class="soft">{group.name}</span>
                  </th>
                ))}
              </tr>
            </thead>
            <Rows rows={ofSpec} />
            {ofRun.length > 0 && (
              <>
                <tbody>
                  <tr>
                    <th scope="colgroup" colSpan={groups.length + 1} class="soft">
                      Size of the network, and where it ran
                    </th>
                  </tr>
                </tbody>
                <Rows rows={ofRun} />
              </>
            )}
          </table>
        </Scroll>
      ) : (
        <p class="soft">Their specs differ only in names and seeds.</p>
      )}
    </section>
  )
}

const Rows = ({ rows }: { rows: Difference[] }) => (
  <tbody>
    {rows.map((row) => (
      <tr key={row.path}>
        <th scope="row">{pathWord(row.path)}</th>
        {row.values.map((value, place) => (
          <td key={place}>{valueWord(value)}</td>
        ))}
      </tr>
    ))}
  </tbody>
)
