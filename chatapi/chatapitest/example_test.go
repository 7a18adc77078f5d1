package chatapitest_test

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func ExampleStart() {
	api := chatapitest.Start(chatapitest.Config{ClientSecret: "ours"})
	defer api.Close()

	resp, err := http.PostForm(api.TokenURL(), url.Values{
		"client_id": {chatapitest.DefaultClientID}, "client_secret": {"ours"}, "grant_type": {"client_credentials"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, api.Counts().TokensIssued)
	// Output: 200 1
}
