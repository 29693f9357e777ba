/** A choice among a few options that are all visible. */

type Props<Name extends string> = {
  label: string
  choices: (readonly [Name, string])[]
  chosen: Name
  onChoose: (name: Name) => void
}

export const Segments = <Name extends string>({ label, choices, chosen, onChoose }: Props<Name>) => (
  <div class="segments" role="group" aria-label={label}>
    {choices.map(([name, word]) => (
      <button key={name} type="button" aria-pressed={name === chosen} onClick={() => onChoose(name)}>
        {word}
      </button>
    ))}
  </div>
)
