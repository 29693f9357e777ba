/** A kept diagnosis of a training elsewhere: what is wrong, and what to do about it in which order. */

import { getKeptDiagnosis } from '../../api/models'
import { DocumentCards } from '../../parts/document'
import { Title } from '../../parts/layout'
import { useLoaded } from '../../parts/load'
import { Failed, Loading } from '../../parts/states'

export default function OneDiagnosis({ id }: { id: string }) {
  const diagnosis = useLoaded(id, (signal) => getKeptDiagnosis(id, signal))
  if (!diagnosis.data) {
    const { problem, reload } = diagnosis
    return problem ? <Failed problem={problem} retry={reload} /> : <Loading what="the diagnosis" />
  }
  const { data } = diagnosis
  return (
    <>
      <div class="heading">
        <Title text="Diagnosis of a training of your own" />
      </div>
      <p class="soft">{data.title}.</p>
      <DocumentCards label="Verdict" document={data} />
    </>
  )
}
