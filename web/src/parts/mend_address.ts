/** The address of a dataset's page with a change of it laid out, to be looked at before it is made. */

export const mendAddress = (dataset: string, changes: unknown, job = '') =>
  `/datasets/${dataset}?${new URLSearchParams({ mend: JSON.stringify(changes), ...(job && { job }) })}`
