/** The dashboard: logs in, then shows the page at the address. All pages but the first are loaded when needed. */

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

import { get, loggedIn, Problem } from './api/client'
import Jobs from './pages/jobs/page'
import { LogIn } from './pages/login'
import PAGES from './pages.json'
import { escapeControls } from './parts/escaped'
import { Layout, owner, Title } from './parts/layout'
import { path, start } from './parts/router'
import { Failed, Loading } from './parts/states'

type PageProps = { id: string }
type Load = () => Promise<ComponentType<PageProps>>

/** Loads the page of each folder. The list of jobs is what people see first, so it is part of this file. */
const LOADS = import.meta.glob<ComponentType<PageProps>>(['./pages/*/page.tsx', '!./pages/jobs/page.tsx'], {
  import: 'default',
})
const FORMS = PAGES.map(({ path, page }): [RegExp, string] => [
  new RegExp(`^${path.replace(':id', '([^/]+)')}$`),
  `./pages/${page}/page.tsx`,
])

function Page() {
  const asked = path.value.replace(/(.)\/$/, '$1')
  for (const [form, file] of FORMS) {
    const found = form.exec(asked)
    if (!found) continue
    const load = LOADS[file]
    return load ? <Later key={path.value} load={load} id={decodeURIComponent(found[1] ?? '')} /> : <Jobs />
  }
  return <NotFound />
}

const NotFound = () => (
  <>
    <div class="heading">
      <Title text="This page does not exist" />
    </div>
    <div class="state">
      <p>
        Nothing is at <code>{path.value}</code>. Check the address for typing errors, or continue from here:
      </p>
      <div class="row">
        {PAGES.filter((page) => page.name).map(({ path: to, name }) => (
          <a key={to} class="button" href={to}>
            {name}
          </a>
        ))}
      </div>
    </div>
  </>
)

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
    // A login by link may happen meanwhile. Then the answer to this earlier question is out of date.
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
