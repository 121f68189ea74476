package sim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
)

func TestOpenAI_EmbeddingsSpeakFloatAndBase64(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	answer, err := c.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model:      "text-embedding-3-small",
		Input:      openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
		Dimensions: openai.Int(8),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Data) != 2 || len(answer.Data[1].Embedding) != 8 || answer.Usage.PromptTokens == 0 {
		t.Errorf("got %+v", answer)
	}
	if answer.Data[0].Embedding[0] == answer.Data[1].Embedding[0] {
		t.Error("different inputs have the same embedding")
	}
	_, body := s.do("POST", "/v1/embeddings", `{"model":"m","input":"a","dimensions":8,"encoding_format":"base64"}`)
	_, encoded, _ := strings.Cut(body, `"embedding":"`)
	encoded, _, _ = strings.Cut(encoded, `"`)
	if raw, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(raw) != 32 {
		t.Errorf("base64 of 8 floats: %d bytes, %v", len(raw), err)
	}
}

func TestOpenAI_OtherEndpoints(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	ctx := t.Context()

	completion := c.Completions.NewStreaming(ctx, openai.CompletionNewParams{
		Model:  "gpt-3.5-turbo-instruct",
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("once")},
	})
	text := ""
	for completion.Next() {
		text += completion.Current().Choices[0].Text
	}
	if err := completion.Err(); err != nil || text == "" {
		t.Errorf("completions: %q, %v", text, err)
	}

	models, err := c.Models.List(ctx)
	if err != nil || len(models.Data) != len(openAIModelNames) {
		t.Errorf("models: %v, %v", models, err)
	}
	if m, err := c.Models.Get(ctx, "gpt-4o"); err != nil || m.ID != "gpt-4o" {
		t.Errorf("model: %v, %v", m, err)
	}
	moderation, err := c.Moderations.New(ctx, openai.ModerationNewParams{
		Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("violence")},
	})
	if err != nil || !moderation.Results[0].Flagged || !moderation.Results[0].Categories.Violence {
		t.Errorf("moderation: %v, %v", moderation, err)
	}
	image, err := c.Images.Generate(ctx, openai.ImageGenerateParams{Prompt: "a cat", N: openai.Int(2)})
	if err != nil || len(image.Data) != 2 || image.Usage.OutputTokens == 0 {
		t.Errorf("images: %v, %v", image, err)
	}
	speech, err := c.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{Model: "tts-1", Input: "hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}})
	if err != nil {
		t.Fatal(err)
	}
	sound, err := io.ReadAll(speech.Body)
	speech.Body.Close()
	if err != nil || len(sound) != defaultSpeech || speech.Header.Get("Content-Type") != "audio/mpeg" {
		t.Errorf("speech: %d bytes, %v", len(sound), err)
	}
	transcript, err := c.Audio.Transcriptions.New(ctx, openai.AudioTranscriptionNewParams{
		Model: "whisper-1", File: openai.File(strings.NewReader("12345"), "a.mp3", "audio/mpeg"), Language: openai.String("en"),
	})
	if err != nil || !strings.Contains(transcript.Text, "file a.mp3 of 5 bytes") || !strings.Contains(transcript.Text, "language") {
		t.Errorf("transcription: %v, %v", transcript, err)
	}
}

func TestOpenAI_FilesComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	c := s.openAI()
	ctx := t.Context()
	content := bytes.Repeat([]byte("{}\n"), 1000)
	file, err := c.Files.New(ctx, openai.FileNewParams{
		File: openai.File(bytes.NewReader(content), "in.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch,
	})
	if err != nil || file.Bytes != int64(len(content)) || file.Filename != "in.jsonl" {
		t.Fatalf("upload: %v, %v", file, err)
	}
	list, err := c.Files.List(ctx, openai.FileListParams{})
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != file.ID {
		t.Errorf("list: %v, %v", list, err)
	}
	download, err := c.Files.Content(ctx, file.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(download.Body)
	download.Body.Close()
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("content: %d bytes, %v", len(got), err)
	}
	batch, err := c.Batches.New(ctx, openai.BatchNewParams{
		InputFileID: file.ID, Endpoint: openai.BatchNewParamsEndpointV1ChatCompletions,
		CompletionWindow: openai.BatchNewParamsCompletionWindow24h,
	})
	if err != nil || batch.Status != "validating" {
		t.Fatalf("batch: %v, %v", batch, err)
	}
	if batch, err = c.Batches.Cancel(ctx, batch.ID); err != nil || batch.Status != "cancelling" {
		t.Errorf("cancelled batch: %v, %v", batch, err)
	}
	if _, err := c.Files.Delete(ctx, file.ID); err != nil {
		t.Error(err)
	}
}

func TestOpenAI_ErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	check := func(key, model string, status int, code string) {
		t.Helper()
		c := s.openAI(option.WithAPIKey(key))
		_, err := c.Chat.Completions.New(t.Context(), chatParams(model, "hello"))
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != status || e.Code != code || e.Message == "" {
			t.Errorf("key %s, model %s: got %v, want %d %s", key, model, err, status, code)
		}
	}
	check("sk-bad", "gpt-4o", 401, "invalid_api_key")
	check("key", "sim:fault=429", 429, "rate_limit_exceeded")
	check("key", "sim:fault=500", 500, "server_error")
	check("key", "sim:fault=503", 503, "server_overloaded")

	c := s.openAI()
	stream := c.Chat.Completions.NewStreaming(t.Context(), chatParams("sim:fault=error-event", "hello"))
	for stream.Next() {
	}
	if err := stream.Err(); err == nil {
		t.Error("error in the stream: no error")
	}
	params := chatParams("sim:fault=no-usage-option", "hello")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: param.NewOpt(true)}
	stream = c.Chat.Completions.NewStreaming(t.Context(), params)
	for stream.Next() {
	}
	var e *openai.Error
	if err := stream.Err(); !errors.As(err, &e) || e.StatusCode != 400 || !strings.Contains(e.Message, "stream_options.include_usage") {
		t.Errorf("unsupported include_usage: %v", err)
	}
}
