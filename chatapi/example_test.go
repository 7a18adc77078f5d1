package chatapi_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func ExampleClient_Send() {
	api := chatapitest.Start(chatapitest.Config{}) // stands in for the Chat API
	defer api.Close()

	client, err := chatapi.New(chatapi.Config{
		URL:          api.ChatURL(),
		TokenURL:     api.TokenURL(),
		ClientID:     chatapitest.DefaultClientID,
		ClientSecret: chatapitest.DefaultClientSecret,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	note := chatapi.Notification{
		ProjectID: "0f8fad5b-d9cb-469f-a165-70867728950e",
		Message:   "Your coffee is ready.",
		WovenIDs:  []string{"w-1", "unknown-2"},
	}
	report, err := client.Send(context.Background(), note)
	fmt.Println(report.Failures, err)

	api.Script(chatapitest.Fault{Status: 429, Header: map[string]string{"Retry-After": "30"}})
	_, err = client.Send(context.Background(), note)
	if failure, ok := errors.AsType[*chatapi.Error](err); ok {
		fmt.Println(failure.Kind, failure.RetryAfter, failure.MayBeDelivered)
	}
	// Output:
	// [{[unknown-2] user not found}] <nil>
	// limited 30s false
}
