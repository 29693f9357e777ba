/** Smoothing of curves, for the eye alone: figures and marks are always those that were measured. */

/**
 * An exponential moving average without the bias of its beginning.
 *
 * weight: of what came before, 0 to below 1; 0 changes nothing. Gaps stay gaps.
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
