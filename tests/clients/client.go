// Go's HTTP client with the read end of a pipe as the body, whose length it cannot know.
//
//	client
//
// Environment: CSRD_URL (with /client/v4), CSRD_TOKEN, CSRD_ACCOUNT, CSRD_BODY (the create, as JSON).
// CSRD_TOO_LARGE is how many bytes are more than csrd takes.
// Waits for a line on standard input before it deletes.
// Prints one line for each answer: the step's name, status, Content-Type, and the body in base64.
// What is right is decided by tests/system/clients.py.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var collection = os.Getenv("CSRD_URL") + "/accounts/" + os.Getenv("CSRD_ACCOUNT") + "/custom_csrs"

type sent struct {
	token string
	kind  string
	text  string
}

func pipe(text string) io.Reader {
	reader, writer := io.Pipe()
	go func() {
		for _, piece := range []string{text[:1], text[1:]} {
			if _, err := io.WriteString(writer, piece); err != nil {
				return // the answer came before the end of the body
			}
		}
		writer.Close()
	}()
	return reader
}

func step(name, method, url string, s sent) []byte {
	var body io.Reader
	if s.text != "" {
		body = pipe(s.text)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		fail(name, err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	if s.text != "" {
		request.Header.Set("Content-Type", s.kind)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fail(name, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		fail(name, err)
	}
	fmt.Println(name, response.StatusCode, response.Header.Get("Content-Type"),
		base64.StdEncoding.EncodeToString(answer))
	return answer
}

func fail(name string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	os.Exit(1)
}

func main() {
	const ok = "application/json"
	token, body := os.Getenv("CSRD_TOKEN"), os.Getenv("CSRD_BODY")
	var created struct{ Result struct{ ID string } }
	if err := json.Unmarshal(step("create", "POST", collection, sent{token, ok, body}), &created); err != nil {
		fail("create", err)
	}
	step("list", "GET", collection, sent{token: token})
	step("bad-json", "POST", collection, sent{token, ok, `{"country": "SE"`})
	step("bad-token", "POST", collection, sent{"csrd_nobody", ok, body})
	step("bad-type", "POST", collection, sent{token, "text/plain", body})
	tooLarge, _ := strconv.Atoi(os.Getenv("CSRD_TOO_LARGE"))
	step("too-large", "POST", collection, sent{token, ok, body + strings.Repeat(" ", tooLarge)})
	bufio.NewReader(os.Stdin).ReadString('\n')
	step("delete", "DELETE", collection+"/"+created.Result.ID, sent{token: token})
}
