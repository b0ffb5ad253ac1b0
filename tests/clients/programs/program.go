// Program of the generated Go client: `job URL ADDRESS COURSE NAME` or `decode FILE`; prints JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"program/parlance"
)

func must[T any](value T, response *http.Response, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func refusal(response *http.Response, err error) []any {
	var refused *parlance.GenericOpenAPIError
	if !errors.As(err, &refused) {
		panic(fmt.Sprint("it was not refused: ", err))
	}
	return []any{response.StatusCode, refused.Model().(parlance.Problem).Code}
}

func job(url, address, course, name string) map[string]any {
	configuration := parlance.NewConfiguration()
	configuration.Servers = parlance.ServerConfigurations{{URL: url}}
	configuration.AddDefaultHeader("X-Forwarded-For", address)
	client := parlance.NewAPIClient(configuration)
	account := parlance.NewRegisterRequest(name+"@example.com", "correct horse battery", name, parlance.PLATFORMINPUT_IOS)
	tokens := must(client.AuthAPI.Register(context.Background()).RegisterRequest(*account).Execute())
	ctx := context.WithValue(context.Background(), parlance.ContextAccessToken, tokens.AccessToken)

	before := must(client.UsersAPI.GetMe(ctx).Execute())
	var update, clear parlance.MeUpdate
	update.SetDisplayName("Ada")
	update.SetBio("Hello")
	setUp := must(client.UsersAPI.UpdateMe(ctx).MeUpdate(update).Execute())
	clear.SetBioNil()
	cleared := must(client.UsersAPI.UpdateMe(ctx).MeUpdate(clear).Execute())

	listed := false
	for _, each := range must(client.CoursesAPI.ListCourses(ctx).Limit(100).Execute()).Items {
		listed = listed || each.Id == course
	}
	enrollment := must(client.CoursesAPI.Enroll(ctx, course).Execute())
	mine := []string{}
	for _, each := range must(client.MyAPI.ListMyCourses(ctx).Execute()).Items {
		mine = append(mine, each.Course.Id)
	}
	page := must(client.CallsAPI.ListCalls(ctx).Limit(20).Execute())
	_, response, err := client.AuthAPI.Register(ctx).RegisterRequest(*account).Execute()
	refused := refusal(response, err)
	_, err = client.AuthAPI.Logout(ctx).Execute()
	check(err)
	refresh := parlance.RefreshRequest{RefreshToken: tokens.RefreshToken}
	_, response, err = client.AuthAPI.RefreshTokens(ctx).RefreshRequest(refresh).Execute()
	return map[string]any{
		"bio":         []*string{before.Bio.Get(), setUp.Bio.Get(), cleared.Bio.Get()},
		"displayName": []*string{setUp.DisplayName.Get(), cleared.DisplayName.Get()},
		"course":      listed,
		"enrolled":    enrollment.IsEnrolled,
		"myCourses":   mine,
		"calls":       []any{len(page.Items), page.NextCursor.Get()},
		"refused":     refused,
		"loggedOut":   refusal(response, err),
	}
}

func decoder[T any](answer []byte) (string, error) {
	var decoded T
	if err := json.Unmarshal(answer, &decoded); err != nil {
		return "", err
	}
	encoded, err := json.Marshal(&decoded)
	return string(encoded), err
}

func decode(file string) map[string]any {
	text, err := os.ReadFile(file)
	check(err)
	var answers map[string]json.RawMessage
	check(json.Unmarshal(text, &answers))
	encoded := map[string]any{}
	for name, answer := range answers {
		encoded[name], err = decoders[name](answer)
		check(err)
	}
	return encoded
}

func main() {
	var seen map[string]any
	if os.Args[1] == "job" {
		seen = job(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	} else {
		seen = decode(os.Args[2])
	}
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
