package provider

import "testing"

func TestTroubleOf(t *testing.T) {
	t.Parallel()
	check := func(op Operation, status int, body string, want Trouble) {
		t.Helper()
		var m Meter
		m.Reset(op, Plain)
		m.Write([]byte(body))
		m.Close()
		kind, _ := m.Failed()
		if got := TroubleOf(status, kind, []byte(body)); got != want {
			t.Errorf("%d %s (kind %q): got %d, want %d", status, body, kind, got, want)
		}
	}
	check(ChatCompletions, 400, `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, TooLong)
	check(Messages, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}`, TooLong)
	check(GenerateContent, 400, `{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`, TooLong)
	check(ChatCompletions, 400, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400}}`, Policy)
	check(Messages, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`, Policy)
	check(ChatCompletions, 403, `{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged"}}`, Policy)
	check(ChatCompletions, 429, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, Unpaid)
	check(Messages, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}`, Unpaid)
	check(ChatCompletions, 402, `{"error":{"message":"Insufficient credits"}}`, Unpaid)
	check(ChatCompletions, 429, `{"error":{"message":"Rate limit reached","type":"tokens","code":"rate_limit_exceeded"}}`, NoTrouble)
	check(ChatCompletions, 400, `{"error":{"message":"Unrecognized request argument","type":"invalid_request_error"}}`, NoTrouble)
	check(ChatCompletions, 500, `{"error":{"message":"maximum context length"}}`, NoTrouble)
	check(ChatCompletions, 401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, NoTrouble)
}
