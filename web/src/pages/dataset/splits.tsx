/** How many images of each class are in which split; a number opens these images. */

import { type Dataset, SPLITS } from '../../api/datasets'
import { setQuery } from '../../parts/router'
import { Scroll } from '../../parts/scroll'
import { SPLIT_NAMES } from '../../words/datasets'
import { count, percent } from '../../words/format'

export function SplitsCard({ dataset: { splits, classes } }: { dataset: Dataset }) {
  if (!splits || !classes) return null
  const all = SPLITS.reduce((sum, split) => sum + splits[split].count, 0)
  return (
    <details class="card" open={classes.length <= 20}>
      <summary>
        <h2>Splits and classes</h2>
      </summary>
      <Scroll label="Counts per class">
        <table class="plain-table counts">
          <caption class="soft">Choose a number to see its images above.</caption>
          <thead>
            <tr>
              <th scope="col">Class</th>
              {SPLITS.map((split) => (
                <th key={split} scope="col">
                  {SPLIT_NAMES[split]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {classes.map((name, place) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {SPLITS.map((split) => {
                  const number = splits[split].per_class[place] ?? 0
                  return (
                    <td key={split}>
                      {number ? (
                        <button
                          type="button"
                          class="small quiet"
                          aria-label={`Show the ${number} ${SPLIT_NAMES[split].toLowerCase()} images of ${name}`}
                          onClick={() => show(split, name)}
                        >
                          {count(number)}
                        </button>
                      ) : (
                        <span class="badge warn">none</span>
                      )}
                    </td>
                  )
                })}
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">All</th>
              {SPLITS.map((split) => (
                <td key={split}>
                  <strong>{count(splits[split].count)}</strong>{' '}
                  <span class="soft">{percent(all ? splits[split].count / all : 0, 0)}</span>
                </td>
              ))}
            </tr>
          </tfoot>
        </table>
      </Scroll>
    </details>
  )
}

function show(split: string, name: string) {
  setQuery({ split: split === 'train' ? '' : split, class: name, from: '' })
  document.getElementById('images')?.scrollIntoView()
}
