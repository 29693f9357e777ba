/** A dialog that traps the focus, closes with Escape, and returns the focus. */

import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

type Props = { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }

export function Dialog({ title, onClose, children, wide = false }: Props) {
  const element = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null
    element.current?.showModal()
    return () => before?.focus()
  }, [])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it, as in every dialog
    <dialog
      ref={element}
      class={wide ? 'wide' : undefined}
      aria-labelledby="dialog-title"
      onClose={onClose}
      onClick={(event) => event.target === element.current && onClose()}
    >
      <div class="dialog-body">
        <header>
          <h2 id="dialog-title">{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
            ×
          </button>
        </header>
        {children}
      </div>
    </dialog>
  )
}

type ConfirmProps = { title: string; action: string; onYes: () => void; onClose: () => void; children: ComponentChildren }

/** Asks for confirmation of something that cannot be undone. */
export const Confirm = ({ title, action, onYes, onClose, children }: ConfirmProps) => (
  <Dialog title={title} onClose={onClose}>
    {children}
    <div class="row end">
      <button type="button" onClick={onClose}>
        Keep
      </button>
      <button
        type="button"
        class="danger"
        onClick={() => {
          onYes()
          onClose()
        }}
      >
        {action}
      </button>
    </div>
  </Dialog>
)
