package proxy

// A picture or a document in a request is base64: hardly any of its bytes are tokens, and how many there are depends on what it shows.
const (
	// mediaRun is from how many bytes of base64 on, without a break, it is taken for media. Texts have no such words.
	mediaRun = 2 << 10
	// mediaTokens is what a picture or document is thought to be.
	mediaTokens = 1000
)

// mediaIn finds the media in a body: how many bytes are theirs, and how many pieces there are. A run that is long enough holds a whole stride, so that few bytes are looked at.
func mediaIn(body []byte) (bytes, pieces int) {
	const stride = mediaRun / 2
	for at := stride; at < len(body); at += stride {
		if !isBase64(body[at]) {
			continue
		}
		begin, end := at, at+1
		for begin > 0 && isBase64(body[begin-1]) {
			begin--
		}
		for end < len(body) && isBase64(body[end]) {
			end++
		}
		if end-begin < mediaRun {
			continue
		}
		bytes, pieces = bytes+end-begin, pieces+1
		at = end - end%stride // the next stride is behind it
	}
	return bytes, pieces
}

func isBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=' || c == '-' || c == '_' || c == '\\'
}
