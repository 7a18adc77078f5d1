package chatapi

import (
	"fmt"
	"testing"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func recipients(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("woven-id-%06d", i)
	}
	return ids
}

func BenchmarkDecodeReply(b *testing.B) {
	asked := recipients(500)
	for name, body := range map[string]string{
		"all":  `{"success":true,"data":{"errors":[]},"info":"done"}`,
		"some": `{"success":true,"data":{"errors":[{"user_ids":["woven-id-000001","woven-id-000400"],"reason":"user not found"}]},"info":"done"}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := decodeReply([]byte(body))
				if err != nil {
					b.Fatal(err)
				}
				r.report(asked)
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, c := startAPI(b, chatapitest.Config{Forget: true})
			note := notification(recipients(n)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Send(b.Context(), note); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
