/** The address of a dataset's page with a change of it laid out, to be looked at before it is made. */

export const fixAddress = (dataset: string, changes: unknown, job = '') =>
  `/datasets/${dataset}?${new URLSearchParams({ fix: JSON.stringify(changes), ...(job && { job }) })}`
