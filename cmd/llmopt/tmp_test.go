package main
import ("testing";"time";"os";"runtime/pprof";"llm-auto-optimizer/storage";"llm-auto-optimizer/analysis/window")
func TestTmp(t *testing.T){
 dir:="/tmp/p/st"
 if _,err:=os.Stat(dir); err!=nil { fillState(t,dir,300,14) }
 t0:=time.Now(); s,err:=storage.OpenDir(dir,storage.Limits{}); if err!=nil {t.Fatal(err)}
 t.Log("open",time.Since(t0))
 f,_:=os.Create("/tmp/p/st.prof"); pprof.StartCPUProfile(f)
 now:=time.Now()
 for l:=range window.LevelsEnd { t0=time.Now(); n:=0; from:=l.Number(now.Add(-168*time.Hour)); if l==window.Minutes {from=l.Number(now.Add(-2*time.Hour))}; if l==window.TenSeconds {from=l.Number(now.Add(-2*time.Minute))}
 names,_:=s.Series(t.Context(),uint8(l)); t.Log(l,"names",len(names),time.Since(t0)); t0=time.Now()
  err:=s.Slots(t.Context(),uint8(l),nil,from,l.Number(now)+1,func(storage.Slot) error {n++;return nil}); t.Log(l,n,err,time.Since(t0)) }
 pprof.StopCPUProfile(); f.Close()
 s.Close()
}
