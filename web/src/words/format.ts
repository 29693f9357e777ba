/** Figures as people read them. */

const NONE = '–'

/** Like `toFixed`, with exact halves to the even digit: so the sentences round that the service makes of the same figures. */
function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits)
  const isHalf = Math.abs((value * 2 ** (digits + 1)) % 2) === 1
  if (!isHalf || Number(text[text.length - 1]) % 2 === 0) return text
  return (value - (Math.sign(value) * 10 ** -digits) / 2).toFixed(digits)
}

/** A fraction as a percentage, such as 93.4%; null is a dash. */
export const percent = (fraction: number | null | undefined, digits = 1) =>
  fraction === null || fraction === undefined ? NONE : `${fixed(100 * fraction, digits)}%`

/** A difference of two accuracies in percentage points, with its sign. */
export const points = (fraction: number | null | undefined, digits = 1) => {
  if (fraction === null || fraction === undefined) return NONE
  const value = fixed(100 * fraction, digits)
  if (Number(value) === 0) return value.replace('-', '')
  return `${Number(value) > 0 ? '+' : ''}${value.replace('-', '−')}`
}

/** A loss or another plain number to four significant digits. */
export const figure = (value: number | null | undefined, digits = 4) =>
  value === null || value === undefined ? NONE : Number(value.toPrecision(digits)).toString().replace('-', '−')

export const count = (value: number | null | undefined) =>
  value === null || value === undefined ? NONE : value.toLocaleString('en')

const UNITS: [number, string][] = [
  [86400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** Seconds as the two largest units that matter, such as 1 h 12 min. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return NONE
  if (seconds < 1) return 'under 1 s'
  let rest = Math.round(seconds)
  const parts: string[] = []
  for (const [size, name] of UNITS) {
    const whole = Math.floor(rest / size)
    if (whole && parts.length < 2) parts.push(`${whole} ${name}`)
    if (parts.length && !whole) break
    rest -= whole * size
  }
  return parts.join(' ')
}

/** How long ago, such as 5 min ago. */
export function ago(time: string | null | undefined, now = Date.now()): string {
  if (!time) return NONE
  const seconds = (now - Date.parse(time)) / 1000
  if (seconds < 10) return 'just now'
  return `${duration(seconds).split(' ').slice(0, 2).join(' ')} ago`
}

export const moment = (time: string | null | undefined) =>
  time ? new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' }) : NONE

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE
  const units = ['bytes', 'kB', 'MB', 'GB']
  let size = value
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000
    unit += 1
  }
  return `${unit ? size.toPrecision(3) : size} ${units[unit]}`
}

/** `not_converged` as "not converged". */
export const plain = (code: string) => code.replaceAll('_', ' ')
