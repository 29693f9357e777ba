/** A box for wide content. It scrolls sideways, also with the keyboard, and says so when a part is hidden. */

import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

type Props = { label: string; framed?: boolean; children: ComponentChildren }

export function Scroll({ label, framed = false, children }: Props) {
  const box = useRef<HTMLDivElement>(null)
  const [isWider, setWider] = useState(false)
  useEffect(() => {
    const { current } = box
    if (!current) return
    const look = () => setWider(current.scrollWidth > current.clientWidth + 1)
    const watch = new ResizeObserver(look)
    watch.observe(current)
    for (const child of current.children) watch.observe(child)
    return () => watch.disconnect()
  }, [])
  return (
    <>
      {isWider && <p class="scroll-hint">Swipe or scroll sideways to see the rest →</p>}
      <div ref={box} class={framed ? 'scrolls framed' : 'scrolls'} role="region" aria-label={label} tabIndex={0}>
        {children}
      </div>
    </>
  )
}
