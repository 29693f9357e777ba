/** The address that compares some jobs. */

/** More curves than this cannot be told apart. */
export const MOST_COMPARED = 40

export const compareAddress = (ids: Iterable<string>) =>
  `/compare?${new URLSearchParams([...ids].slice(0, MOST_COMPARED).map((id) => ['job', id]))}`
