/** Short messages after an action, read out by screen readers too. */

import { signal } from '@preact/signals'

import { Problem } from '../api/client'

type Notice = { id: number; text: string; failed: boolean; link?: { href: string; text: string } }

const notices = signal<Notice[]>([])
let last = 0
const SHOWN_MS = 8000

export function notify(text: string, { failed = false, link }: { failed?: boolean; link?: Notice['link'] } = {}) {
  last += 1
  const notice = { id: last, text, failed, link }
  notices.value = [...notices.value.slice(-2), notice]
  setTimeout(() => dismiss(notice.id), failed ? 3 * SHOWN_MS : SHOWN_MS)
}

const dismiss = (id: number) => (notices.value = notices.value.filter((notice) => notice.id !== id))

/** Does what a person asked for. If that fails, shows a message and returns undefined. */
export async function attempt<Result>(action: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await action()
  } catch (error) {
    notify(error instanceof Problem ? error.detail : String(error), { failed: true })
    return undefined
  }
}

export const Notices = () => (
  <div class="notices" aria-live="polite">
    {notices.value.map((notice) => (
      <div key={notice.id} class={notice.failed ? 'notice failed' : 'notice'}>
        <span>{notice.text}</span>
        {notice.link && <a href={notice.link.href}>{notice.link.text}</a>}
        <button type="button" class="quiet" aria-label="Close this message" onClick={() => dismiss(notice.id)}>
          ×
        </button>
      </div>
    ))}
  </div>
)
