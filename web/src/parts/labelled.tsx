/** A field of a form with its name, and below it what it means or what is wrong with it. The field is described by `ID-hint`. */

import type { ComponentChildren } from 'preact'

import { Prose } from './prose'

type Props = { id: string; label: string; hint?: string; error?: string; inline?: boolean; children: ComponentChildren }

export const Labelled = ({ id, label, hint, error, inline = false, children }: Props) => (
  <div class={inline ? 'field inline' : 'field'}>
    <label for={id}>{label}</label>
    {children}
    <p id={`${id}-hint`} class={error ? 'hint wrong' : 'hint'}>
      <Prose text={error ?? hint ?? ''} />
    </p>
  </div>
)
