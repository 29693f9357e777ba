/** Text from the service, in which backticks mark code. */

export const Prose = ({ text }: { text: string }) => (
  <>{text.split('`').map((part, place) => (place % 2 ? <code key={place}>{part}</code> : part))}</>
)
