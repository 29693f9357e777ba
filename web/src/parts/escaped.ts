/**
 * Shows control characters as escapes wherever text is rendered. Names come from clients, and such characters can
 * reverse or hide the text around them. Text that is sent, copied or edited stays unchanged.
 */

import { options, type VNode } from 'preact'

/** Control characters except tabs and line ends, and characters that set the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it finds
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
const SHOWN_ATTRIBUTES = ['title', 'aria-label', 'alt']

export function escaped(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Escapes all text and all descriptions of elements from now on. */
export function escapeControls(): void {
  const before = options.vnode
  options.vnode = (vnode: VNode) => {
    const node = vnode as unknown as { type: unknown; props: unknown }
    if (node.type === null && typeof node.props === 'string') node.props = escaped(node.props)
    if (typeof node.type === 'string') {
      const props = node.props as Record<string, unknown>
      for (const name of SHOWN_ATTRIBUTES) {
        const value = props[name]
        if (typeof value === 'string') props[name] = escaped(value)
      }
    }
    before?.(vnode)
  }
}
