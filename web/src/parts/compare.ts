/** The address of the page that compares these jobs. */

/** People cannot tell more curves than this apart. */
export const MOST_COMPARED = 40

export const compareAddress = (ids: Iterable<string>) =>
  `/compare?${new URLSearchParams([...ids].slice(0, MOST_COMPARED).map((id) => ['job', id]))}`
