// A reader for parsers_client.py: encoding/json into a map, and into a struct that has the judged fields' names
// (which it finds whatever their case). The format is told in read.py.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"strings"
)

// A value that knows whether it was there.
type field struct {
	there bool
	value interface{}
}

func (f *field) UnmarshalJSON(bytes []byte) error {
	f.there = true
	return json.Unmarshal(bytes, &f.value)
}

type named struct {
	Name field `json:"name"`
}

type body struct {
	A field `json:"a"`
	B struct {
		C field `json:"c"`
	} `json:"b"`
	L    []field `json:"l"`
	Role field   `json:"role"`
	Kiss field   `json:"kiss"`
	List []named `json:"list"`
	Args field   `json:"args"`
}

func text(value string) string { return base64.StdEncoding.EncodeToString([]byte(value)) }

func tagged(value interface{}) interface{} {
	switch value := value.(type) {
	case nil:
		return []interface{}{"null"}
	case bool:
		return []interface{}{"bool", value}
	case float64:
		return []interface{}{"num", fmt.Sprintf("%016x", math.Float64bits(value))}
	case string:
		return []interface{}{"str", text(value)}
	case []interface{}:
		all := make([]interface{}, 0, len(value))
		for _, one := range value {
			all = append(all, tagged(one))
		}
		return []interface{}{"arr", all}
	case map[string]interface{}:
		all := map[string]interface{}{}
		for key, one := range value {
			all[text(key)] = tagged(one)
		}
		return []interface{}{"obj", all}
	}
	panic("no JSON value")
}

func whole(bytes []byte) interface{} {
	var value interface{}
	if json.Unmarshal(bytes, &value) != nil {
		return []interface{}{"error"}
	}
	return tagged(value)
}

// The struct as the object that it stands for.
func typed(bytes []byte) interface{} {
	var read body
	if json.Unmarshal(bytes, &read) != nil {
		return []interface{}{"error"}
	}
	found := map[string]interface{}{}
	put := func(to map[string]interface{}, name string, f field) {
		if f.there {
			to[text(name)] = tagged(f.value)
		}
	}
	put(found, "a", read.A)
	put(found, "role", read.Role)
	put(found, "kiss", read.Kiss)
	put(found, "args", read.Args)
	inner := map[string]interface{}{}
	put(inner, "c", read.B.C)
	found[text("b")] = []interface{}{"obj", inner}
	elements := []interface{}{}
	for _, one := range read.L {
		elements = append(elements, tagged(one.value))
	}
	found[text("l")] = []interface{}{"arr", elements}
	names := []interface{}{}
	for _, one := range read.List {
		element := map[string]interface{}{}
		put(element, "name", one.Name)
		names = append(names, []interface{}{"obj", element})
	}
	found[text("list")] = []interface{}{"arr", names}
	return []interface{}{"obj", found}
}

// What could be read before an error counts as well: many handlers look at no error.
func form(bytes []byte) interface{} {
	read := map[string][]string{}
	values, _ := url.ParseQuery(string(bytes))
	for name, all := range values {
		for _, value := range all {
			read[text(name)] = append(read[text(name)], text(value))
		}
	}
	return read
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		bytes, err := base64.StdEncoding.DecodeString(strings.TrimSpace(lines.Text()))
		if err != nil {
			panic(err)
		}
		told := map[string]interface{}{}
		if len(os.Args) > 1 && os.Args[1] == "form" {
			told["go"] = form(bytes)
		} else {
			told["go map"], told["go struct"] = whole(bytes), typed(bytes)
		}
		line, err := json.Marshal(told)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n", line)
	}
}
