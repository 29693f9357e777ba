/** Tables of a document, with strips as pictures of their figures. The service has placed everything in percent. */

import type { ComponentChildren } from 'preact'

import type { Schemas } from '../api/client'
import { Prose } from './prose'
import { inQuery, setQuery } from './router'
import { Scroll } from './scroll'
import { Segments } from './segments'

type Table = Schemas['Table']
type Strip = Schemas['Strip']
type Axis = Schemas['Axis']

/** One of the charts at a time: the address says which. */
export function FigureBlock({ figure }: { figure: Schemas['Figure'] }) {
  const chart = figure.charts.find((each) => each.name.toLowerCase() === inQuery('by')) ?? figure.charts[0]!
  const names = figure.charts.map((each) => [each.name, each.name] as const)
  const choose = (name: string) => setQuery({ by: name === names[0]![0] ? '' : name.toLowerCase() })
  return (
    <section class="gap-part" aria-label={figure.label}>
      <header>
        <h3>{chart.caption}</h3>
        {names.length > 1 && <Segments label="What is shown" choices={names} chosen={chart.name} onChoose={choose} />}
      </header>
      <TableBlock table={{ ...chart, caption: '' }} label={chart.caption} />
    </section>
  )
}

export function TableBlock({ table, label = table.caption }: { table: Table; label?: string }) {
  const { headings, rows, marked, numbers, remarks } = table
  const isPicture = headings.some((heading) => typeof heading !== 'string')
  const shown = headings.map((_, place) => place).filter((place) => !remarks.includes(place))
  return (
    <>
      <Scroll label={label || 'Table'}>
        <table class={isPicture ? 'plain-table stacked strips' : 'plain-table stacked'}>
          {table.caption && <caption class="soft">{table.caption}</caption>}
          <thead>
            <tr>
              {shown.map((place) => (
                <th key={place} scope="col" class={numbers.includes(place) ? 'number' : ''}>
                  {nameOf(headings[place]!)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, number) => (
              <tr key={number} class={marked.includes(number) ? 'marked' : ''}>
                {shown.map((place) => (
                  <Cell
                    key={place}
                    cell={row[place]!}
                    heading={headings[place]!}
                    isNumber={numbers.includes(place)}
                    isFirst={!place}
                  >
                    {place === 0 && remarks.map((remark) => row[remark] && <p class="soft">{row[remark] as string}</p>)}
                  </Cell>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {table.note && <p class="soft">{table.note}</p>}
    </>
  )
}

const nameOf = (heading: string | Axis) =>
  typeof heading === 'string' ? (
    heading
  ) : (
    <span class="scale">
      <span>{heading.low}</span> <span>{heading.high}</span>
      <span class="sr">{heading.name}</span>
    </span>
  )

type CellProps = {
  cell: string | Strip
  heading: string | Axis
  isNumber: boolean
  isFirst: boolean
  children: ComponentChildren
}

function Cell({ cell, heading, isNumber, isFirst, children }: CellProps) {
  if (typeof heading !== 'string') {
    return <td class="area">{typeof cell !== 'string' && <StripPicture strip={cell} axis={heading} />}</td>
  }
  const text = <Prose text={cell as string} />
  return isFirst ? (
    <th scope="row">
      {text}
      {children}
    </th>
  ) : (
    <td class={isNumber ? 'number' : ''} data-label={cell === '' ? undefined : heading}>
      {text}
    </td>
  )
}

const StripPicture = ({ strip, axis }: { strip: Strip; axis: Axis }) => (
  <span class="strip" role="img" aria-label={strip.text}>
    {axis.ticks.map(([at, text]) => (
      <span key={text} class={text === '0' ? 'zero' : 'tick'} style={{ insetInlineStart: `${at}%` }} />
    ))}
    {strip.marks.map(({ shape, start, end, tone }) => (
      <span
        key={shape}
        class={`${shape} ${tone} ${start <= 0 ? 'cut-start' : ''} ${end >= 100 ? 'cut-end' : ''}`}
        style={{
          insetInlineStart: `${start}%`,
          inlineSize: shape === 'bar' || shape === 'range' ? `${end - start}%` : undefined,
        }}
      />
    ))}
  </span>
)
