/** The dashboard: logs in, then shows the page that the address names. Pages beyond the first are loaded when needed. */

import 'uplot/dist/uPlot.min.css'
import './styles/tokens.css'
import './styles/base.css'
import './styles/parts.css'
import './styles/charts.css'
import './styles/jobs.css'
import './styles/job.css'
import './styles/new.css'
import './styles/studies.css'
import './styles/datasets.css'
import './styles/models.css'
import './styles/compare.css'

import { type ComponentType, render } from 'preact'
import { useEffect, useState } from 'preact/hooks'

import { Problem, get, loggedIn } from './api/client'
import { Jobs } from './pages/jobs/page'
import { LogIn } from './pages/login'
import { escapeControls } from './parts/escaped'
import { Layout, owner } from './parts/layout'
import { path, start } from './parts/router'
import { Empty, Failed, Loading } from './parts/states'

type PageProps = { id: string }
type Load = () => Promise<ComponentType<PageProps>>

/** Pages by the form of their addresses; `:id` is handed to the page. */
const LATER: [RegExp, Load][] = [
  [/^\/jobs\/([^/]+)$/, () => import('./pages/job/page').then((one) => one.OneJob)],
  [/^\/studies$/, () => import('./pages/studies/page').then((one) => one.Studies)],
  [/^\/studies\/new$/, () => import('./pages/order/page').then((one) => one.OrderStudy)],
  [/^\/studies\/([^/]+)$/, () => import('./pages/study/page').then((one) => one.OneStudy)],
  [/^\/datasets$/, () => import('./pages/datasets/page').then((one) => one.Datasets)],
  [/^\/datasets\/([^/]+)$/, () => import('./pages/dataset/page').then((one) => one.OneDataset)],
  [/^\/models$/, () => import('./pages/models/page').then((one) => one.Models)],
  [/^\/models\/([^/]+)$/, () => import('./pages/model/page').then((one) => one.OneModel)],
  [/^\/evaluations$/, () => import('./pages/evaluations/page').then((one) => one.Evaluations)],
  [/^\/evaluations\/([^/]+)$/, () => import('./pages/evaluation/page').then((one) => one.OneEvaluation)],
  [/^\/compare$/, () => import('./pages/compare/page').then((one) => one.Compare)],
  [/^\/new$/, () => import('./pages/new/page').then((one) => one.NewJob)],
]

function Page() {
  if (path.value === '/' || path.value === '/jobs' || path.value === '/login') return <Jobs />
  for (const [form, load] of LATER) {
    const found = form.exec(path.value)
    if (found) return <Later key={path.value} load={load} id={decodeURIComponent(found[1] ?? '')} />
  }
  return (
    <Empty title="There is no such page">
      <p>
        <a href="/jobs">To the jobs</a>
      </p>
    </Empty>
  )
}

function Later({ load, id }: { load: Load; id: string }) {
  const [Loaded, setLoaded] = useState<ComponentType<PageProps> | null>(null)
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    load().then(
      (page) => setLoaded(() => page),
      () => setFailed(true),
    )
  }, [load])
  if (failed) {
    const problem = new Problem(0, 'not_loaded', 'This page could not be loaded. The service may have been updated.')
    return <Failed problem={problem} retry={() => location.reload()} />
  }
  return Loaded ? <Loaded id={id} /> : <Loading what="the page" />
}

function App() {
  useEffect(() => {
    // A log-in by link goes on meanwhile. What was answered to the question before it is out of date after it.
    const tellFirst = (isLoggedIn: boolean, who = '') => {
      if (loggedIn.value !== null) return
      owner.value = who
      loggedIn.value = isLoggedIn
    }
    get<{ owner: string }>('/v1/session').then(
      (session) => tellFirst(true, session.owner),
      () => tellFirst(false),
    )
  }, [])
  const arrivesByLink = path.value === '/login' && location.hash.length > 1
  if (loggedIn.value === null && !arrivesByLink) return <Loading what="Heldout" />
  if (!loggedIn.value) return <LogIn />
  return (
    <Layout>
      <Page />
    </Layout>
  )
}

escapeControls()
start()
render(<App />, document.getElementById('app')!)
