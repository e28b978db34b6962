package chatwootsim

import (
	"fmt"
	"html"
	"math/rand/v2"
	"strings"
)

// mail is a text with the HTML that came with it.
type mail struct{ text, html string }

// corpus is what customers and agents say. A text is picked by message id, so
// it costs a conversation no memory of its own.
type corpus struct {
	chats   []string
	replies []string
	mails   []mail
}

func newCorpus(seed uint64) *corpus {
	rng := rand.New(rand.NewPCG(seed, 0x7e875))
	c := &corpus{}
	for range 96 {
		c.chats = append(c.chats, compose(rng, customerSays, 9+rng.IntN(13), " "))
		c.replies = append(c.replies, compose(rng, agentSays, 5+rng.IntN(8), " "))
	}
	for i := range 64 {
		m := mail{text: compose(rng, customerSays, 6+rng.IntN(8), "\n\n") + "\n\n-- \nSent from my phone 📱"}
		if i%3 > 0 { // a third of all mail programs sends plain text
			m.html = htmlOf(m.text)
		}
		c.mails = append(c.mails, m)
	}
	return c
}

func compose(rng *rand.Rand, from []string, n int, between string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = from[rng.IntN(len(from))]
		if strings.Contains(parts[i], "%d") {
			parts[i] = fmt.Sprintf(parts[i], 10_000+rng.IntN(90_000))
		}
	}
	return strings.Join(parts, between)
}

func htmlOf(text string) string {
	var b strings.Builder
	b.WriteString(`<div dir="ltr" style="font-family:Helvetica,Arial,sans-serif;font-size:14px">`)
	for part := range strings.SplitSeq(text, "\n\n") {
		b.WriteString("<p>" + strings.ReplaceAll(html.EscapeString(part), "\n", "<br>") + "</p>\r\n")
	}
	b.WriteString("</div>")
	return b.String()
}

// mix is splitmix64: a number that depends on all of its arguments and nothing
// else, for whatever has to be varied but the same in every run.
func mix(vs ...uint64) uint64 {
	var h uint64
	for _, v := range vs {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

func pick[T any](from []T, vs ...uint64) T {
	return from[mix(vs...)%uint64(len(from))]
}

// uuid returns a well-formed version 4 UUID.
func uuid(vs ...uint64) string {
	a, b := mix(vs...), mix(append(vs, 1)...)
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

var firstNames = []string{
	"Hannah", "Jonas", "Amélie", "Søren", "Mateus", "Chidi", "Yuki", "Zoë", "İpek", "Olga", "Rahul", "Fatima", "Noah",
	"Ngọc", "Mary Ann", "Łukasz", "Björk", "Ana", "Tariq", "Grace", "Émile", "Ravi", "Chloe", "D’Andre", "美咲", "Σοφία",
}

var lastNames = []string{
	"Okafor", "Petrov", "Lefèvre", "Østergård", "da Silva", "Nguyễn", "Tanaka", "O'Brien", "Yılmaz", "Kowalczyk",
	"Smith", "García", "Schröder", "Haddad", "Mbeki", "Rossi", "Novák", "van den Berg", "Singh", "Jansen", "Kim",
}

var subjects = []string{
	"Refund for a returned jacket", "Order #48213 never arrived", "Re: Re: invoice", "¿Dónde está mi pedido?",
	"Wrong size – exchange?", "URGENT: charged twice", "Frage zur Lieferung", "Question about \"Express\" shipping",
	"Warranty", "Cancel my subscription, please",
}

var customerSays = []string{
	"Hello, I hope somebody is there.",
	"The label for order %d does not print: the page says \"Access denied\" and then stays white.",
	"I have waited for two weeks now and the tracking still says “in transit”.",
	"Könnten Sie mir bitte sagen, wo mein Paket bleibt? Ich bin ab Montag verreist.",
	"J'ai déjà écrit hier, sans réponse… c'est vraiment dommage.",
	"My account is under hannah.o+shop@example.com, number %d.",
	"I tried C:\\Users\\me\\Downloads\\label.pdf and it opens as garbage 😕",
	"The amount on my card was 129.90 € & not 92.10 € as your page promised.",
	"¿Me pueden ayudar, por favor? Necesito cambiar la talla de la chaqueta.",
	"The zip broke after <5 minutes, honestly.",
	"Can you confirm that the parcel goes to 14 Elm Street, and not to my office?",
	"Thanks!! 🙏🏽",
	"You wrote: \"we will come back to you within one working day\". That was on Tuesday.",
	"返品したいのですが、どうすればいいですか。",
	"If that cannot be done I would rather have my money back.",
	"The chat on your site closed itself twice, so I am pasting everything again.",
	"My partner ordered the same thing on the same day and has had it since Friday.",
	"By the way, the size chart says 42 = L; the jacket says 42 = M.",
	"الرجاء الرد في أقرب وقت ممكن.",
	"I attached the photo you asked for (reference %d).",
	"Is there a phone number I could call instead?",
	"It still shows\tstatus: \"pending\"\tfor item %d.",
	"Please, please do not send me to the FAQ again 🙃",
	"Voucher SUMMER-%d is refused although it should be valid until the 30th.",
}

var agentSays = []string{
	"Hello, and thank you for writing to us.",
	"I am sorry that this took so long.",
	"I have looked at order %d and can see the parcel at the depot.",
	"The carrier promises a new attempt tomorrow between 9:00 and 13:00.",
	"I have just sent you a new label; it prints on A4 and on a label printer.",
	"Your refund was started today and shows on the card within 3–5 days.",
	"Would “size M, navy” be a good replacement?",
	"Please keep the reference %d in case you write again.",
	"Our warehouse found the jacket; it leaves this afternoon 📦",
	"Is there anything else I can do for you?",
	"I have passed this on to the returns desk & will come back to you today.",
	"Could you send a photo of the zip? Then I can skip a step.",
	"Kind regards from all of us.",
}

var botSays = []string{
	"Hi! I am the assistant. Could you tell me your order number?",
	"I found an article that may help: Returns in three steps.",
	"One moment, I am looking that up for you 🤖",
	"Did that answer your question? Otherwise I can fetch a colleague.",
}

var noteSays = []string{
	"Waiting for the carrier's answer before replying.",
	"Third time this month, see #1204. @Priya can you have a look?",
	"Customer is right, the page shows the old price.",
	"Refund approved by billing.",
}

const (
	greetingText   = "Hello! How can we help?"
	campaignText   = "Hi! Summer returns are free until 30 June. Need a hand?"
	automationText = "We have received your message and will get back to you soon."
)
