/** Smooths drawn curves. Figures and marks always show the measured values. */

/**
 * An exponential moving average, corrected for the bias at its start.
 *
 * weight: of the earlier values, from 0 to below 1; 0 changes nothing. Gaps stay gaps.
 */
export function smoothed(values: (number | null | undefined)[], weight: number): (number | null | undefined)[] {
  let sum = 0
  let total = 0
  return values.map((value) => {
    if (value === null || value === undefined) return value
    sum = weight * sum + (1 - weight) * value
    total = weight * total + (1 - weight)
    return sum / total
  })
}
